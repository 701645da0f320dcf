"""lm-evaluation-harness with our decoders: identical to its own class where it must be."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager, get_task_dict

from empirical.decoding.rivals import DoLa, decoder_of
from empirical.evaluation.harness.built_in import CHOICES, choices
from empirical.evaluation.harness.command import completed
from empirical.evaluation.harness.grading import (
    hle_exact_match,
    same_mathematics,
    same_words,
    stated_answer,
)
from empirical.evaluation.harness.local_tasks import LOCAL_TASKS, OURS, RECORDS, write_tasks
from empirical.evaluation.harness.model import ConfidentLM
from empirical.evaluation.harness.runs import FORMAT, read_runs
from empirical.problems import draw_problems
from stopping.cli.main import exit_code, group
from stopping.errors import UserError
from stopping.rules import Search, Tolerance
from stopping.support.documents import as_json
from tests.empirical.evaluation.harness_runs import compare_runs
from tests.empirical.tiny_models import save_tiny_folder

# The harness and its libraries warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")
CONTEXTS = ["What is 7 + 5?", "Name a colour.", "One day in June", "x"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> TaskManager:
    path = write_tasks(tmp_path_factory.mktemp("tasks"))
    return TaskManager(include_path=str(path), include_defaults=False)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    # It asks pip, gcc and git about the machine after every task.
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)


def ours(folder: Path, batch: int = 2, **arguments: Any) -> ConfidentLM:
    return ConfidentLM(str(folder), device="cpu", dtype="float32", batch_size=batch, **arguments)


def theirs(folder: Path, batch: int = 2) -> HFLM:
    return HFLM(str(folder), device="cpu", dtype="float32", batch_size=batch)


def requests(kind: str) -> list[Instance]:
    until = {"until": ["\n"], "max_gen_toks": 10, "do_sample": False}
    arguments: dict[str, list[tuple[Any, ...]]] = {
        "generate_until": [(c, until) for c in CONTEXTS],
        "loglikelihood": [(c, f" {w}") for c in CONTEXTS for w in ("yes", "never so")],
        "loglikelihood_rolling": [(c * 4,) for c in CONTEXTS],
    }
    return [Instance(kind, {}, a, i) for i, a in enumerate(arguments[kind])]


def answers(lm: HFLM, kind: str) -> Sequence[Any]:
    found: Sequence[Any] = getattr(lm, kind)(requests(kind), disable_tqdm=True)
    return found


KINDS = ("generate_until", "loglikelihood", "loglikelihood_rolling")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "arguments",
    [
        {"rule": "final"},
        {"p": 0},
        {"window": 0},
        {"rule": "final", "score": "chosen"},
        {"p": 0.0, "score": "chosen"},
    ],
    ids=str,
)
def test_decoders_that_stay_answer_as_the_harness(
    folder: Path, kind: str, arguments: dict[str, Any]
) -> None:
    assert answers(ours(folder, **arguments), kind) == answers(theirs(folder), kind)


def test_the_search_answers_otherwise_but_scores_alike_unless_asked(folder: Path) -> None:
    """Negative control of the test above: what shall change does, what shall not does not."""
    plain, search, scored = (
        theirs(folder),
        ours(folder, window=2),
        ours(folder, window=2, score="chosen"),
    )
    assert answers(search, "generate_until") != answers(plain, "generate_until")
    for kind in KINDS[1:]:
        assert answers(search, kind) == answers(plain, kind)
        assert answers(scored, kind) != answers(plain, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "arguments",
    [
        {"window": 2, "score": "chosen"},
        {"p": 0.5, "seed": 3, "score": "chosen"},
        {"rule": "dola:layers=all;norm=off", "score": "chosen"},
        {"rule": "sled", "score": "chosen"},
    ],
    ids=str,
)
def test_batch_sizes_agree(folder: Path, kind: str, arguments: dict[str, Any]) -> None:
    one, four = (answers(ours(folder, batch, **arguments), kind) for batch in (1, 4))
    for a, b in zip(one, four, strict=True):
        # Sums of single-precision matrix products, whose order depends on the batch.
        assert a == (b if isinstance(b, str) else pytest.approx(b, rel=1e-4))


def results(lm: HFLM, tasks: TaskManager, *names: str) -> dict[str, Any]:
    found = simple_evaluate(
        lm,
        tasks=list(names),
        task_manager=tasks,
        limit=3,
        gen_kwargs={"max_gen_toks": 6},
        log_samples=True,
        bootstrap_iters=0,
    )
    assert found is not None
    samples: dict[str, Any] = {
        name: [(s["doc_id"], s["resps"], s["target"]) for s in found["samples"][name]]
        for name in names
    }
    return samples


@pytest.mark.slow
def test_whole_tasks_agree_with_the_harness(folder: Path, tasks: TaskManager) -> None:
    """Multiple choice and written answers, through the harness's own evaluator."""
    scored = ("gpqa_diamond_zeroshot_local", "built_in_choice", "built_in_solutions")
    names = (*scored, "gsm8k_local")
    plain = results(theirs(folder), tasks, *names)
    assert results(ours(folder, rule="final"), tasks, *names) == plain
    search = results(ours(folder, window=2), tasks, *names)
    chosen = results(ours(folder, window=2, score="chosen"), tasks, *names)
    for name in scored:
        assert search[name] == plain[name]
        assert chosen[name] != plain[name]
    assert search["gsm8k_local"] != plain["gsm8k_local"]


def test_choices_hold_the_right_answer_once() -> None:
    problems = draw_problems(100, 0)
    places = []
    for index, problem in enumerate(problems):
        offered = choices(problems, index)
        assert len(set(offered["choices"])) == len(offered["choices"]) == CHOICES
        assert offered["choices"][offered["gold"]] == problem.answer
        places.append(offered["gold"])
    assert set(places) == set(range(CHOICES))


@pytest.mark.slow
@pytest.mark.parametrize("local", LOCAL_TASKS, ids=lambda t: t.original)
def test_every_task_runs_on_local_records(folder: Path, tasks: TaskManager, local: Any) -> None:
    found = simple_evaluate(
        ours(folder, window=2),
        tasks=[local.name],
        task_manager=tasks,
        gen_kwargs={"max_gen_toks": 4} if "zeroshot" not in local.original else None,
        limit=2,
        bootstrap_iters=0,
    )
    assert found is not None
    metrics = {k: v for k, v in found["results"][local.name].items() if isinstance(v, float)}
    assert metrics
    assert all(0 <= v <= 1 for v in metrics.values())


@pytest.mark.slow
@pytest.mark.parametrize("local", LOCAL_TASKS, ids=lambda t: t.original)
def test_right_answers_are_graded_right(tasks: TaskManager, local: Any) -> None:
    """Each task, given its records' own answers, and wrong ones."""
    task = tasks.load([local.name])["tasks"][local.name]
    docs = list(task.eval_docs)
    kept = [json.loads(line) for line in (RECORDS / local.records).read_text().splitlines()]
    assert len(docs) == (4 if local.original == "hle_exact_match" else len(kept))
    for right in (True, False):
        scores = []
        for doc in docs:
            if task.OUTPUT_TYPE == "multiple_choice":
                gold = task.doc_to_target(doc)
                gold = gold if isinstance(gold, int) else task.doc_to_choice(doc).index(gold)
                chances = [(0.0 if (i == gold) == right else -1.0, False) for i in range(4)]
                scores.append(task.process_results(doc, chances)["acc"])
                continue
            said = _solution(local.original, task, doc) if right else "I do not know, 123456."
            instances = task.construct_requests(doc, "")
            instances = instances if isinstance(instances, list) else [instances]
            for instance in instances:
                instance.resps = [said]
            for filters in task._filters:
                filters.apply(instances)
            key = next(iter(instances[0].filtered_resps))
            found = task.process_results(doc, [instances[0].filtered_resps[key]])
            scores.append(found["exact_match"])
        assert [float(s) for s in scores] == [float(right)] * len(docs)


def _solution(name: str, task: Any, doc: dict[str, Any]) -> str:
    if name == "gsm8k":
        return f" {doc['answer']}"
    if name == "gpqa_diamond_cot_zeroshot":
        return f"Let me see. The answer is {doc['answer']}."
    if name == "hle_exact_match":
        return f"It is so.\nExact Answer: {doc['answer']}\nConfidence: 90%"
    if name == "hendrycks_math500":
        return f"So we get ${doc['answer']}$"
    answer = doc.get("answer", doc.get("Answer"))
    return f"Therefore the answer is \\boxed{{{answer}}}."


@pytest.mark.parametrize(
    ("reference", "text", "same"),
    [
        ("\\frac{3}{4}", "so it is \\boxed{\\frac{6}{8}}", True),
        ("\\frac{3}{4}", "so it is \\boxed{0.75}.", True),
        ("5\\sqrt{2}", "\\boxed{\\sqrt{50}}", True),
        ("(-2,2)", "all $x$ in \\boxed{(-2,2)}", True),
        ("(-2,2)", "all $x$ in \\boxed{[-2,2]}", False),
        ("9", "first 9, in the end \\boxed{8}", False),
        ("9", "", False),
        ("9", "\\boxed{", False),
    ],
)
def test_mathematics_is_compared_by_value(reference: str, text: str, same: bool) -> None:
    assert same_mathematics(reference, text) == same


def test_short_answers_are_compared_as_words() -> None:
    assert stated_answer("Answer: no\nExact Answer: **Neptune**\nConfidence: 1%") == "Neptune**"
    assert stated_answer("I would say Neptune") is None
    assert same_words("Neptune", "neptune.")
    assert same_words("$101$", " 101")
    assert not same_words("101", "1010")
    assert not same_words("", " ")


def test_arguments() -> None:
    assert decoder_of("search", 4, 0.5) == Search(4, 0.5)
    assert decoder_of("tolerance:tau=0.5;K=3") == Tolerance(0.5, 3)
    assert decoder_of("dola:layers=high", norm="off") == DoLa(layers="high", norm=False)
    for arguments, words in [
        (("serach",), "unknown kind"),
        (("offset:k=2", 4), "has no window"),
        (("search", "four"), "window=four: it must be a number"),
        (("search", None, "half"), "p=half: it must be a number"),
        (("search", None, 2.0), r"p must be in \[0, 1\]"),
        (("tolerance:tau=1", None, 0.5), "no setting p; it belongs to search"),
        (("dola", None, None, "none"), "on or off"),
        (("search", None, None, "off"), "no setting norm"),
    ]:
        with pytest.raises(UserError, match=words):
            decoder_of(*arguments)  # type: ignore[arg-type]  # wrong on purpose


def test_mistakes_of_the_user(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="score=both: choose from final, chosen"):
        ours(folder, score="both")
    with pytest.raises(UserError, match=r"none\.lens"):
        ours(folder, lens=str(tmp_path / "none.lens"))
    with pytest.raises(UserError, match="no such file"):
        ConfidentLM(str(tmp_path / "none.gguf"), device="cpu")
    with pytest.raises(UserError, match="no such file"):
        ConfidentLM(str(tmp_path / "NONE.GGUF"), device="cpu")


def test_the_record_says_how_was_decoded(folder: Path) -> None:
    lm = ours(folder, window=2, seed=5)
    assert lm.get_model_info()["moved"] is None
    answers(lm, "generate_until")
    info = lm.get_model_info()
    assert info["decoder"] == "search:K=2,p=1.0"
    assert (info["decoder_lens"], info["decoder_seed"]) == ("raw", 5)
    assert info["decoder_layers"] == [1, 2, 3]
    assert 0 < info["moved"] <= 1
    assert 0 < info["generated_tokens"] <= 10 * len(CONTEXTS)
    json.dumps({name: value for name, value in info.items() if name != "model_dtype"})


def test_the_command_line_is_the_harness_s() -> None:
    tasks = Path("T")
    added = ["--model", "confident", "--include_path", "T"]
    assert completed(["run", "--tasks", "a"], tasks) == ["run", "--tasks", "a", *added]
    assert completed(["--tasks", "a"], tasks) == ["run", "--tasks", "a", *added]
    assert completed(["ls", "tasks"], tasks) == ["ls", "tasks", "--include_path", "T"]
    assert completed(["run", "--help"], tasks) == ["run", "--help"]
    with pytest.raises(UserError, match="nowhere: no such folder"):
        completed(["run", "--include_path=nowhere"], tasks)


@pytest.mark.parametrize("given", ["--include_path {}", "--include_path={}"])
def test_a_users_own_tasks_are_found_beside_ours(tmp_path: Path, given: str) -> None:
    mine = tmp_path / "mine" / "deeper"
    mine.mkdir(parents=True)
    (tmp_path / "ours").mkdir()
    ours = write_tasks(tmp_path / "ours")
    (mine / "own.py").write_text("def answer(doc):\n    return 'mine: ' + doc['answer']\n")
    (mine / "own.yaml").write_text(
        f"include: {ours / 'omni_math_local.yaml'}\n"
        "task: own_task\n"
        "doc_to_target: !function own.answer\n"
    )
    arguments = completed(["run", "--model=hf", *given.format(mine.parent).split()], ours)
    assert arguments == ["run", "--model=hf", "--include_path", str(ours)]
    found = TaskManager(include_path=str(ours), include_defaults=False)
    task = get_task_dict(["own_task"], found)["own_task"]
    assert task.doc_to_target({"answer": "7"}) == "mine: 7"


@pytest.mark.slow
def test_the_command_from_end_to_end(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Of the harness's own tasks, whose files take longer to read than all the rest, none is read.
    monkeypatch.setattr(TaskManager.__init__, "__defaults__", (None, None, False, None))
    arguments = f"pretrained={folder},rule=search,window=2,dtype=float32"
    command = [
        *("lm-eval", "run", "--tasks", "omni_math_local", "--model_args", arguments),
        *("--device", "cpu", "--limit", "2", "--gen_kwargs", "max_gen_toks=5"),
        *("--output_path", str(tmp_path / "out")),
    ]
    assert exit_code(lambda: group.main(command, standalone_mode=False)) == 0
    out = capsys.readouterr().out
    assert "|     Tasks     |Version|Filter|n-shot|  Metric   |" in out
    assert "|omni_math_local|" in out
    (file,) = (tmp_path / "out").rglob("results*.json")
    kept = json.loads(file.read_text())
    assert kept["config"]["decoder"] == "search:K=2,p=1.0"
    assert not math.isnan(kept["results"]["omni_math_local"]["exact_match,none"])


def test_a_rule_that_is_none_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ("--tasks", "omni_math_local", "--model_args", f"pretrained={folder},rule=serach")
    assert exit_code(lambda: group.main(["lm-eval", "run", *wrong], standalone_mode=False)) == 2
    assert "unknown kind 'serach'" in capsys.readouterr().err


def recorded(
    folder: Path, answers: list[Any], kind: str = "generate_until", batch: int = 2, **decoder: Any
) -> Path:
    """Write what the harness leaves of a run of one task."""
    (folder / "model").mkdir(parents=True)
    config = {
        "model_args": {"pretrained": "/some/where/m.gguf"},
        "device": "cpu",
        "batch_size": str(batch),
        "gen_kwargs": {"max_gen_toks": 4},
        "generated_tokens": 9,
        **decoder,
    }
    record = {
        "lm_eval_version": "0",
        "results": {"t": {}},
        "configs": {"t": {"output_type": kind}},
        "config": config,
    }
    (folder / "model" / "results_1.json").write_text(json.dumps(record))
    rows = [
        {"arguments": {"gen_args_0": {"arg_0": f"prompt {i}"}}, "resps": answer}
        for i, answer in enumerate(answers)
    ]
    (folder / "model" / "samples_t_1.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_runs_are_compared_text_by_text(tmp_path: Path) -> None:
    first = recorded(tmp_path / "hf", [[["a"]], [["b"]]])
    other = recorded(tmp_path / "search", [[["a"]], [["c"]]], decoder="search", moved=0.5)
    found = compare_runs([first, other])
    assert [(r.decoder, r.answers, r.same, r.apart, r.moved) for r in found.runs] == [
        (None, 2, 2, None, None),
        ("search", 2, 1, None, 0.5),
    ]
    assert {r.model for r in found.runs} == {"m.gguf"}
    file = tmp_path / "summary.json"
    file.write_text(as_json(FORMAT.wrap(vars(found))))
    assert read_runs(file) == found


def test_log_likelihoods_are_compared_with_those_of_other_batches(tmp_path: Path) -> None:
    def choices(name: str, *values: str, batch: int = 2, decoder: str | None = None) -> Path:
        answers = [[[[value, "False"]] for value in values], [[["-3.0", "True"]]]]
        return recorded(tmp_path / name, answers, "multiple_choice", batch, decoder=decoder)

    folders = [
        choices("hf", "-1.0", "-2.0"),
        choices("search", "-1.0", "-2.5", decoder="search"),
        choices("five", "-1.0", "-2.75", batch=5, decoder="search"),
    ]
    found = compare_runs(folders).runs
    assert [(r.batch, r.against, r.same, r.apart) for r in found] == [
        ("2", None, 2, 0.0),
        ("2", None, 1, 0.5),
        ("5", "2", 1, 0.25),
    ]
    assert {r.moved for r in found} == {r.max_tokens for r in found} == {None}


def test_runs_that_cannot_be_compared(tmp_path: Path) -> None:
    first = recorded(tmp_path / "hf", [[["a"]], [["b"]]])
    with pytest.raises(UserError, match="same prompts"):
        compare_runs([first, recorded(tmp_path / "short", [[["a"]]])])
    with pytest.raises(UserError, match="holds 0 records"):
        compare_runs([first, tmp_path / "nowhere"])
    (samples,) = first.rglob("samples_t_1.jsonl")
    samples.rename(samples.with_name("samples_other_1.jsonl"))
    with pytest.raises(UserError, match="0 files of samples of t"):
        compare_runs([first])


@pytest.mark.parametrize("missing", [{"lm_eval"}, {"lm_eval", "torch", "transformers"}])
def test_without_the_extra(missing: set[str], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from empirical.commands import lm_eval as command
    from stopping.cli.main import exit_code

    real = command.importlib.util.find_spec
    monkeypatch.setattr(
        command.importlib.util, "find_spec", lambda name: None if name in missing else real(name)
    )
    code = exit_code(lambda: command.lm_eval.main(["run"], "lm-eval", standalone_mode=False))
    assert code == 2
    assert 'pip install -c constraints.txt -e ".[eval]"' in capsys.readouterr().err


def test_our_tasks_are_complete() -> None:
    assert {f.stem for f in OURS.glob("*.yaml")} == {
        "built_in_choice",
        "built_in_problems",
        "built_in_solutions",
        "hle_exact_match",
        "omni_math",
    }
    images = [
        {"image": "", "answer_type": "exactMatch"},
        {"image": "x", "answer_type": "exactMatch"},
    ]

    assert len(hle_exact_match(Dataset.from_list(images))) == 1
