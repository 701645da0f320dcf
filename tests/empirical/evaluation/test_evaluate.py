"""Task accuracy: reading answers, the paired comparison, and `stopping evaluate`."""

import json
from collections.abc import Callable, Iterable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import AutoModelForCausalLM, AutoTokenizer

from empirical.analysis.validate import Comparison
from empirical.data import bundled_evaluations, bundled_papers
from empirical.evaluation import (
    Answer,
    compare,
    judge,
    paired,
    runner,
    score_interval,
    sign_flips,
    stated_part,
)
from empirical.evaluation.run import read_evaluation
from empirical.evaluation.runner import PLAIN, Settings, answer_batch
from empirical.model.load import LoadedModel, load_model
from empirical.problems import draw_problems, to_row
from empirical.problems.built_in import all_built_in
from empirical.studies.paper.results import read_paper
from stopping.cli import main
from stopping.errors import UserError
from stopping.rules import AbstractRule, Final, Search, WindowMinimum
from stopping.support.statistics import Interval, clopper_pearson
from stopping.types import BoolArray, FloatArray
from tests.empirical.evaluation.restate import restated
from tests.empirical.tiny_models import save_tiny_folder

SHORT = Settings(max_new_tokens=16, batch=3)
N = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that writes digits for the most part, so that it has answers."""
    path = save_tiny_folder(tmp_path_factory.mktemp("models") / "tiny-llama")
    model = AutoModelForCausalLM.from_pretrained(path)
    digits = AutoTokenizer.from_pretrained(path).encode("0123456789", add_special_tokens=False)
    with torch.no_grad():
        model.lm_head.weight[digits] *= 5
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    return load_model(folder, device="cpu")


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("2 + 3 = 5.\nThe answer is 5.", "5"),
        # A model that runs on is not judged by the problem that it poses itself.
        ("The answer is 5.\nTom has 7 apples.\nThe answer is 7.", "5"),
        ("So the final answer is: **5** apples. And so\non, 9", "5"),
        ("The answer is:\n\n5", "5"),
        ("First 7, then \\boxed{5}. That took 9 minutes", "5"),
        ("7 and then 5 remain.", "5"),
        ("Nobody knows.", None),
    ],
)
def test_the_first_stated_answer_counts_else_the_end(text: str, given: str | None) -> None:
    problem = replace(draw_problems(1)[0], answer="5")
    answer = judge(3, problem, text, tokens=9, ended=True)
    assert (answer.given, answer.correct) == (given, given == "5")
    assert text.startswith(stated_part(text))


def mcnemar(fixed: int, regressed: int) -> float:
    """The exact test where every problem stands for itself."""
    surplus = np.repeat([1, -1, 0], [fixed, regressed, 3])
    return sign_flips(surplus, np.arange(len(surplus)))


def test_problems_of_a_group_fall_together() -> None:
    surplus = np.array([1, 1, 1, 1, 1, 1, 0, 0])
    assert mcnemar(6, 0) == pytest.approx(2 / 2**6)
    assert sign_flips(surplus, np.array([0, 0, 0, 1, 1, 1, 2, 3])) == pytest.approx(2 / 2**2)
    assert sign_flips(surplus, np.zeros(8, int)) == 1.0
    rule, plain = np.array([1, 1, 1, 1, 1, 1, 0, 1], bool), np.array([0, 0, 0, 0, 0, 0, 0, 1], bool)
    alone, grouped = paired(rule, plain), paired(rule, plain, groups=[0, 0, 0, 1, 1, 1, 2, 3])
    assert grouped.difference.estimate == alone.difference.estimate
    assert grouped.difference.low < alone.difference.low
    assert grouped.p_value > alone.p_value


def test_flipping_whole_groups_holds_its_level_and_mcnemar_does_not() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 5)
    rejected = {"groups": 0, "alone": 0}
    runs = 400
    for _ in range(runs):
        surplus = rng.choice([-1, 1], 20)[groups] * (rng.random(100) < 0.5)
        rejected["groups"] += sign_flips(surplus, groups) < 0.05
        rejected["alone"] += sign_flips(surplus, np.arange(100)) < 0.05
    assert clopper_pearson(rejected["groups"], runs, 0.999).low <= 0.05
    assert clopper_pearson(rejected["alone"], runs, 0.999).low > 0.05


def test_mcnemar_is_the_binomial_test() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(6, 0) == pytest.approx(2 / 2**6)
    assert mcnemar(1, 7) == mcnemar(7, 1) == pytest.approx(2 * (1 + 8) / 2**8)


def test_paired_counts() -> None:
    rule, plain = [1, 1, 1, 0, 0], [1, 0, 0, 1, 0]
    found = paired(rule, plain)
    assert (found.fixed, found.regressed, found.problems) == (2, 1, 5)
    assert found.difference.estimate == pytest.approx(0.2)
    assert (found.accuracy.estimate, found.plain.estimate) == (0.6, 0.4)
    with pytest.raises(UserError, match="one of each"):
        paired(rule, plain[:4])


@pytest.mark.parametrize(
    ("fixed", "regressed", "n"), [(0, 0, 40), (5, 2, 50), (12, 0, 12), (0, 9, 9)]
)
def test_the_score_interval_inverts_the_score_test(fixed: int, regressed: int, n: int) -> None:
    """Its ends are where the statistic, with P(regressed) found by search, meets the quantile."""
    found = score_interval(fixed, regressed, n, 0.9)
    mirrored = score_interval(regressed, fixed, n, 0.9)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
    assert found.low <= found.estimate <= found.high
    if found.high < 1:
        delta = found.high
        q = np.linspace(max(0.0, -delta), (1 - delta) / 2, 200_001)[1:-1]
        likelihood = (
            regressed * np.log(q)
            + fixed * np.log(q + delta)
            + (n - fixed - regressed) * np.log1p(-2 * q - delta)
        )
        best = float(q[likelihood.argmax()])
        z = (fixed - regressed - n * delta) / np.sqrt(n * (2 * best + delta * (1 - delta)))
        # The grid of q is 1/200,000 fine, the statistic's slope in q of the order of 10.
        assert z == pytest.approx(stats.norm.ppf(0.05), abs=1e-3)


def _coverage(low: FloatArray, high: FloatArray, outcomes: FloatArray) -> FloatArray:
    """Exact coverage at a grid of (P(fixed), P(regressed)), from all outcomes of N problems."""
    found = []
    counts = np.column_stack([outcomes, N - outcomes.sum(axis=1)])
    for p in np.linspace(0.02, 0.48, 12):
        for q in np.linspace(0.02, 0.48, 12):
            covers: BoolArray = (low <= p - q) & (p - q <= high)
            chance = stats.multinomial.pmf(counts, N, [p, q, 1 - p - q])
            found.append(chance[covers].sum())
    return np.array(found)


def _covers(coverage: FloatArray) -> bool:
    # Asymptotic, so the nominal level holds on average and to two points everywhere.
    return bool(coverage.mean() >= 0.945 and coverage.min() >= 0.93)


def test_the_score_interval_covers_and_the_usual_one_does_not() -> None:
    outcomes = np.array([(m, b) for m in range(N + 1) for b in range(N + 1 - m)], dtype=np.float64)
    ends = [score_interval(int(m), int(b), N) for m, b in outcomes]
    assert _covers(
        _coverage(np.array([e.low for e in ends]), np.array([e.high for e in ends]), outcomes)
    )
    d = (outcomes[:, 0] - outcomes[:, 1]) / N
    half = stats.norm.ppf(0.975) * np.sqrt((outcomes.sum(axis=1) / N - d**2) / N)
    assert not _covers(_coverage(d - half, d + half, outcomes))


def _answers(solved: list[bool], text: str = "x", **counts: int) -> list[Answer]:
    return [
        Answer(i, text, None, right, counts.get("tokens", 10), True, counts.get("moved", 0))
        for i, right in enumerate(solved)
    ]


def test_several_rules_share_the_error() -> None:
    """Seven fixed and none regressed: p = 1/64 is significant alone and among three, not four."""
    problems = [replace(problem, group="") for problem in draw_problems(20)]
    plain = _answers([False] * 20)
    better = _answers([True] * 7 + [False] * 13, "y", tokens=12, moved=3)
    for rules, verdict in ((1, "better"), (3, "better"), (4, "undecided")):
        named = {("r", f"r:{i}"): better for i in range(rules)}
        result = compare(problems, plain, named)[0]
        assert result.p_adjusted == pytest.approx(rules * 2 / 2**7)
        assert result.comparison == verdict
        assert result.overall.difference.level == pytest.approx(1 - 0.05 / rules)
    assert result.moved.estimate == pytest.approx(0.25)
    assert result.longer == Interval(2.0, 2.0, 2.0)
    assert result.changed == 20
    worse = compare(problems, better, {("r", "r"): plain})[0]
    assert worse.comparison is Comparison.WORSE
    assert [g.measures.problems for g in worse.by_difficulty] == [5, 5, 5, 5]
    assert sum(g.measures.regressed for g in worse.by_difficulty) == 7


def test_the_error_of_all_tests_together_is_kept() -> None:
    """Rules that differ by chance alone: some verdict in at most 5 % of 1,000 evaluations."""
    rng = np.random.default_rng(0)

    def share_of_verdicts(rules: int, counted: int) -> float:
        fixed = rng.binomial(20, 0.5, size=(1000, rules))
        p = np.array([mcnemar(int(m), 20 - int(m)) for m in range(21)])[fixed]
        return float((counted * p.min(axis=1) < 0.05).mean())

    # Three standard errors of a share of 5 % in 1,000.
    allowed = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)
    assert share_of_verdicts(10, counted=10) <= allowed
    assert share_of_verdicts(10, counted=1) > allowed


def _texts(answers: Iterable[Answer]) -> list[Answer]:
    return [replace(answer, trail=None) for answer in answers]


@pytest.mark.parametrize("rule", [Final(), Search(K=0), Search(K=2, p=0.0)], ids=str)
def test_rules_that_stay_write_what_plain_decoding_writes(
    loaded: LoadedModel, rule: AbstractRule
) -> None:
    some = list(enumerate(draw_problems(4, 1)))
    plain = answer_batch(loaded, some, None, SHORT)
    assert _texts(answer_batch(loaded, some, rule, SHORT)) == _texts(plain)
    assert _texts(answer_batch(loaded, some, WindowMinimum(K=2), SHORT)) != _texts(plain)


def test_a_batch_answers_as_its_problems_do_alone(loaded: LoadedModel) -> None:
    some = list(enumerate(draw_problems(4, 1)))
    together = answer_batch(loaded, some, Search(K=2), SHORT)
    assert _texts(together) == _texts(
        answer for one in some for answer in answer_batch(loaded, [one], Search(K=2), SHORT)
    )
    assert sum(answer.moved for answer in together) > 0


def stopping(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    code = exit_.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
def prompts(tmp_path: Path, loaded: LoadedModel) -> Path:
    """Six problems, three of which the tiny model solves when it decodes plainly."""
    problems = draw_problems(6, 3)
    plain = answer_batch(loaded, list(enumerate(problems)), None, SHORT)
    easy = [
        replace(p, answer=a.given if a.problem % 2 else "no such answer")
        for p, a in zip(problems, plain, strict=True)
        if a.given
    ]
    assert len(easy) == 6
    path = tmp_path / "p.jsonl"
    # A model that writes its own answers needs no solutions.
    rows = [to_row(problem) for problem in easy]
    for row in rows:
        del row["reference"]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.slow
def test_evaluate_from_end_to_end(
    folder: Path,
    prompts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "results.json"
    command = ("evaluate", "--model", folder, "--prompts", prompts, "--out", out)
    options = ("--max-new-tokens", 16, "--batch", 3, "--rule", "search:K=2")
    real = runner.answer_batch
    calls: list[tuple[AbstractRule | None, list[int]]] = []

    def counted(loaded: Any, some: Any, rule: AbstractRule | None, *rest: Any) -> Any:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append((rule, [index for index, _ in some]))
        return real(loaded, some, rule, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "answer_batch", counted)
        assert stopping(*command, *options) == 130
    assert "give the same command again" in capsys.readouterr().err
    assert not out.exists()

    # The same command answers the other half only.
    done = calls.copy()
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(runner, "answer_batch", counted)
        assert stopping(*command, *options) == 0
    assert {index for _, some in calls for index in some}.isdisjoint(
        index for _, some in done for index in some
    )
    assert "of 1 rule: better 0, worse 0, undecided 1" in capsys.readouterr().out
    resumed = json.loads(out.read_text())
    whole = tmp_path / "whole.json"
    assert stopping(*command[:-1], whole, *options, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(whole.read_text())
    assert printed["answers"] == resumed["answers"]
    assert printed["rules"] == resumed["rules"]
    assert printed["plain_accuracy"]["estimate"] == 0.5
    assert printed["provenance"]["model"] == "tiny-llama"
    assert str(tmp_path) not in out.read_text()
    assert len(printed["problems"]) == len(printed["answers"][PLAIN]) == 6

    # Another rule costs its own batches only, and the final layer changes nothing.
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(runner, "answer_batch", counted)
        assert stopping(*command, *options, "--rule", "final") == 0
    assert [rule for rule, _ in calls] == [Final(), Final()]
    final = json.loads(out.read_text())["rules"][1]
    assert final["overall"]["difference"]["estimate"] == 0
    assert (final["changed"], final["overall"]["fixed"], final["overall"]["regressed"]) == (0, 0, 0)

    # Other settings do not mix with what is there.
    capsys.readouterr()
    assert stopping(*command, *options[2:]) == 2
    message = capsys.readouterr().err
    assert "max_new_tokens was 16, is 160" in message
    assert "--fresh" in message


def test_mistakes_of_the_user(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*options: object) -> str:
        assert stopping("evaluate", "--model", folder, *options) == 2
        return capsys.readouterr().err

    mute = tmp_path / "mute.jsonl"
    mute.write_text('{"prompt": "Why?", "reference": "So."}\n')
    assert "has no answer" in told("--rule", "search", "--prompts", mute)
    assert "unknown kind" in told("--rule", "serach")
    assert "--fresh has no meaning without --out" in told("--rule", "search", "--fresh")
    assert "given more than once" in told("--rule", "search", "--rule", "search:K=10")
    assert "not both" in told("--rule", "search", "--prompts", mute, "--problems", 3)
    assert "--rule" in told()
    there = tmp_path / "there.json"
    there.write_text("{}")
    assert "exists already" in told("--rule", "search", "--problems", 2, "--out", there)
    assert there.read_text() == "{}"
    assert "none of them is given" in told("--rule", "search", "--norm", "off")
    lens = tmp_path / "none.lens"
    assert "none.lens" in told("--rule", "search", "--problems", 2, "--lens", lens)


@pytest.mark.slow
def test_rivals_are_evaluated_like_rules(
    folder: Path, prompts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("evaluate", "--model", folder, "--prompts", prompts, "--max-new-tokens", 16)
    rules = [
        x for spec in ("search:K=2", "dola", "sled", "released-score") for x in ("--rule", spec)
    ]
    assert stopping(*command, *rules, "--norm", "off", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    found = {rule["spec"]: rule for rule in result["rules"]}
    assert list(found) == [
        "search:K=2,p=1.0",
        "dola:layers=low,relative_top=0.1,divergence=js,norm=off",
        "sled:rate=2.0,scale=10,steps=10,floor=-2500.0,layers=all,norm=off",
        "released-score:K=10",
    ]
    dola = found["dola:layers=low,relative_top=0.1,divergence=js,norm=off"]
    # It takes no layer's word for its own.
    assert (dola["moved"]["estimate"], dola["substituted"]["estimate"] > 0) == (0, True)


def test_too_few_problems_for_an_interval() -> None:
    with pytest.raises(UserError, match="at least two"):
        compare(draw_problems(1), _answers([True]), {("r", "r"): _answers([True])})


@pytest.mark.parametrize(
    ("read", "paths"), [(read_evaluation, bundled_evaluations()), (read_paper, bundled_papers())]
)
def test_files_of_version_1_say_how_they_are_made_again(
    read: Callable[[Path], object], paths: dict[str, Path], tmp_path: Path
) -> None:
    path = next(iter(paths.values()))
    text = path.read_text()
    for name, former in (("fixed", "mended"), ("regressed", "broken")):
        text = text.replace(f'"{name}"', f'"{former}"')
    (tmp_path / "old.json").write_text(text.replace('"version": 2', '"version": 1', 1))
    assert '"mended"' in text
    with pytest.raises(UserError, match="make one with `stopping"):
        read(tmp_path / "old.json")


@pytest.mark.parametrize("path", bundled_evaluations().values(), ids=lambda path: path.name)
def test_verdicts_are_restated_from_the_answers_that_were_kept(path: Path) -> None:
    stored = read_evaluation(path)
    found = restated(stored, all_built_in())
    for before, now in zip(stored.rules, found.rules, strict=True):
        kept = ("problems", "accuracy", "plain", "fixed", "regressed")
        for name in kept:
            assert getattr(now.overall, name) == getattr(before.overall, name)
        # Quantiles differ in the last bit from one NumPy to the next.
        assert astuple(now.moved) == pytest.approx(astuple(before.moved), rel=1e-12)
        # Problems of a template may fall together: no interval gets shorter for it.
        assert now.overall.difference.high >= before.overall.difference.high
    assert restated(found, all_built_in()) == found


def test_what_cannot_be_restated_is_refused() -> None:
    stored = read_evaluation(next(iter(bundled_evaluations().values())))
    with pytest.raises(UserError, match="give the problems of this evaluation"):
        restated(stored, all_built_in()[:3])
    stopped = replace(stored, settings=replace(stored.settings, until_decided=True))
    with pytest.raises(UserError, match="stopped once decided"):
        restated(stopped, all_built_in())
