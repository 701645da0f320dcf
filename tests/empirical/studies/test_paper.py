"""The paper's tables: sampling, token statistics, words, quarters, and `stopping paper`."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import AutoModelForCausalLM, AutoTokenizer

from empirical.analysis.audit.tokens import SearchedTokens, statistics_of, token_statistics
from empirical.data import bundled_papers
from empirical.evaluation import Answer
from empirical.evaluation.runner import PLAIN, Settings, answer_batch
from empirical.evaluation.sampling import SeededDraws
from empirical.evaluation.trail import Trail
from empirical.model.load import LoadedModel, load_model
from empirical.problems import draw_problems
from empirical.studies.paper import Category, Plan, category, planned, quartiles, substitutions
from empirical.studies.paper.difficulty import difficulty
from empirical.studies.paper.results import FORMAT, ArmResult, read_paper
from empirical.studies.paper.run import _arm_result, contrast, searched_tokens
from empirical.traces.window import take_sample
from stopping.cli import main
from stopping.errors import UserError
from stopping.rules import Search
from stopping.support.documents import plain as as_plain
from stopping.support.documents import structured
from stopping.support.statistics import Interval
from tests.empirical.tiny import tiny
from tests.empirical.tiny_models import save_tiny_folder

SHORT = Settings(max_new_tokens=12, batch=4)


def _writes_digits(path: Path, seed: float) -> Path:
    save_tiny_folder(path)
    model = AutoModelForCausalLM.from_pretrained(path)
    digits = AutoTokenizer.from_pretrained(path).encode("0123456789", add_special_tokens=False)
    with torch.no_grad():
        model.lm_head.weight[digits] *= seed
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _writes_digits(tmp_path_factory.mktemp("models") / "tiny-one", 5)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    return load_model(folder, device="cpu")


# Sampling.


def test_draws_follow_the_softmax() -> None:
    """A chi-squared test of 4,000 draws; one at another temperature is rejected."""
    z = torch.tensor([[1.0, 0.0, -1.0, 0.5]])
    steps = 4000

    def p_value(temperature: float, expected_at: float) -> float:
        draws = SeededDraws([7], 0, temperature, seed=1)
        ids = torch.zeros((1, steps), dtype=torch.long)
        words = [int(draws(ids[:, :step], z).argmax()) for step in range(steps)]
        expected = torch.softmax(z[0] / expected_at, 0).double().numpy()
        counts = np.bincount(words, minlength=4)
        return float(stats.chisquare(counts, steps * expected / expected.sum()).pvalue)

    assert p_value(0.7, 0.7) > 1e-3
    assert p_value(0.7, 1.0) < 1e-6


def test_sampled_texts_do_not_depend_on_the_batch_and_seeds_differ(loaded: LoadedModel) -> None:
    some = list(enumerate(draw_problems(4, 1)))
    hot = replace(SHORT, temperature=1.0, seed=3)
    for rule in (None, Search(K=2)):
        together = [a.text for a in answer_batch(loaded, some, rule, hot)]
        alone = [a.text for one in some for a in answer_batch(loaded, [one], rule, hot)]
        assert together == alone
        other = [a.text for a in answer_batch(loaded, some, rule, replace(hot, seed=4))]
        assert other != together
    greedy = [a.text for a in answer_batch(loaded, some, None, SHORT)]
    assert greedy != [a.text for a in answer_batch(loaded, some, None, hot)]


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_temperatures_are_positive(temperature: float) -> None:
    with pytest.raises(UserError, match="must be positive"):
        SeededDraws([0], 0, temperature, 0)


# What the search did.


def test_trails_hold_what_the_statistics_need(loaded: LoadedModel) -> None:
    """Entropies and words of the trail are those of a projection of the whole window."""
    from empirical.decoding import ConfidentDecoding

    problem = draw_problems(1, 1)[0]
    (answer,) = answer_batch(loaded, [(0, problem)], Search(K=2), SHORT)
    trail = answer.trail
    assert trail is not None
    assert len(trail) == answer.tokens
    ids = loaded.tokenizer(f"{problem.prompt}\n", return_tensors="pt").input_ids
    with torch.no_grad(), ConfidentDecoding(loaded.model, Search(K=2), whole=True) as decoding:
        loaded.model.generate(ids, max_new_tokens=12, do_sample=False)
    steps = decoding.statistics
    n = len(trail)
    x = steps.entropy[0, :n].astype(float)
    np.testing.assert_allclose(trail.last, x[:, -1], atol=1e-5)
    np.testing.assert_allclose(trail.before, x[:, -2], atol=1e-5)
    assert list(trail.depth) == steps.depth[0, :n].tolist()
    assert list(trail.token) == steps.token[0, :n].tolist()
    assert sum(a != b for a, b in zip(trail.token, trail.final_token, strict=True)) == (
        answer.substituted
    )


def test_trails_survive_a_file() -> None:
    trail = Trail((0.5,), (math.nan,), (0.5,), (0,), (3,), (4,))
    back = structured(json.loads(json.dumps(as_plain(trail))), Trail)
    assert (back.last, back.depth, back.token) == (trail.last, trail.depth, trail.token)
    assert math.isnan(back.before[0])


def test_statistics_of_trails_are_those_of_traces() -> None:
    """The five tokens of `tiny`, once as traces and once as two trails."""
    sample = take_sample(tiny(), 3, 0, 200)
    x, top1 = sample.x, sample.top1
    at = Search(3).choose(x)
    rows = np.arange(5)
    columns = (x[:, -1], x[:, -2], x[rows, at], 3 - at, top1[rows, at], top1[:, -1])
    trails = [
        Trail(*(tuple(c[members].tolist()) for c in columns)) for members in (rows[:3], rows[3:])
    ]
    found = statistics_of(searched_tokens(trails), 3, 0, 200)
    expected = token_statistics(sample)
    assert as_plain(found) == as_plain(expected)
    # And the comparison notices a trail that lost a step back.
    wrong = [replace(trails[0], depth=(0, *trails[0].depth[1:])), trails[1]]
    assert as_plain(statistics_of(searched_tokens(wrong), 3, 0, 200)) != as_plain(expected)
    with pytest.raises(UserError, match="fewer than two problems"):
        searched_tokens([trails[0], Trail()])


def test_valley_rate_by_entropy() -> None:
    tokens = SearchedTokens(
        prompt=np.array([0, 0, 1, 1], dtype=np.int32),
        position=np.array([0, 1, 0, 1], dtype=np.int32),
        last=np.array([0.005, 0.02, 0.5, 0.6]),
        before=np.array([0.1, 0.01, 0.4, 0.7]),
        valley=np.array([0.005, 0.01, 0.4, 0.6]),
        depth=np.array([0, 1, 1, 0]),
        changed=np.array([False, False, True, False]),
    )
    found = statistics_of(tokens, 3, 0, 200).by_entropy
    assert [b.leaves.estimate for b in found][:2] == [0.0, 1.0]
    assert math.isnan(found[2].leaves.estimate)
    assert (found[3].leaves.estimate, found[3].substituted.estimate) == (0.5, 0.5)


# Words.


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (" the", Category.FUNCTION),
        ("The", Category.FUNCTION),
        ("'s", Category.FUNCTION),
        ("n’t", Category.FUNCTION),
        (" apples", Category.CONTENT),
        ("17", Category.CONTENT),
        ("ß", Category.CONTENT),
        ("m", Category.CONTENT),
        (".", Category.PUNCTUATION),
        (" —", Category.PUNCTUATION),
        ("?!", Category.PUNCTUATION),
        ("\n\n", Category.OTHER),
        (" ", Category.OTHER),
        ("", Category.OTHER),
        ("+", Category.OTHER),
        ("=", Category.OTHER),
        ("<|im_end|>", Category.OTHER),
        ("\ufffd", Category.OTHER),
    ],
)
def test_categories(text: str, kind: Category) -> None:
    assert category(text) is kind


def test_substitutions_are_counted() -> None:
    texts = [" the", " apple", ".", "\n"]
    zeros = (0.0,) * 4
    trails = [
        Trail(zeros, zeros, zeros, (0,) * 4, token=(0, 1, 2, 0), final_token=(0, 0, 2, 3)),
        Trail(zeros, zeros, zeros, (0,) * 4, token=(1, 1, 1, 1), final_token=(0, 1, 1, 2)),
    ]
    found = substitutions(trails, texts.__getitem__, replicates=200)
    assert (found.tokens, found.rate.estimate) == (8, 0.5)
    rows = {row.category: row for row in found.categories}
    function = rows[Category.FUNCTION]
    assert (function.tokens, function.share.estimate) == (3, 3 / 8)
    assert function.substituted.estimate == pytest.approx(2 / 3)
    assert function.of_all.estimate == 0.5
    assert function.by == (2, 0, 0, 0)
    assert sum(row.of_all.estimate for row in found.categories) == pytest.approx(1)
    first = found.most_frequent[0]
    assert (first.final, first.decoded, first.count) == (" the", " apple", 2)
    with pytest.raises(UserError, match="at least two problems"):
        substitutions([trails[0], Trail()], texts.__getitem__)


# Quarters.


def _mean_gains(ranked_by_itself: bool, replicates: int = 150) -> tuple[list[float], list[float]]:
    """Mean gain and its standard error in each quarter, where nothing was changed."""
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(replicates):
        chance = rng.beta(0.6, 0.6, size=80)
        runs = rng.random((4, 80)) < chance
        rank = runs[0] if ranked_by_itself else runs[2:].mean(axis=0)
        found = quartiles(runs[1], runs[0], rank, int(rng.integers(1 << 30)))
        gains.append([q.measures.difference.estimate for q in found])
    table = np.array(gains)
    return table.mean(axis=0).tolist(), (table.std(axis=0) / np.sqrt(replicates)).tolist()


@pytest.mark.slow
def test_other_runs_rank_without_bias_and_the_compared_run_does_not() -> None:
    """Two runs of the same decoder: no quarter may gain; ranked by the first, the hardest does."""
    # Four quarters, each at a level of 1 in 10,000.
    allowed = stats.norm.ppf(1 - 0.5e-4)
    means, errors = _mean_gains(ranked_by_itself=False)
    assert all(abs(m) <= allowed * e for m, e in zip(means, errors, strict=True))
    means, errors = _mean_gains(ranked_by_itself=True)
    assert means[0] > allowed * errors[0]
    assert means[3] < -allowed * errors[3]
    # E pi (1 - pi) / E (1 - pi) for Beta(a, a) is 1 / 2 - 1 / (2 (2 a + 1)) with a = 0.6, and all
    # of the hardest quarter are unsolved but for a few tables.
    assert means[0] == pytest.approx(0.5 - 0.5 / 2.2, abs=allowed * errors[0] + 0.01)


def test_quarters_are_cut_by_ease() -> None:
    ease = [3, 1, 2, 0, 7, 6, 5, 4]
    plain = [e >= 4 for e in ease]
    found = quartiles([True] * 8, plain, ease)
    assert [q.number for q in found] == [1, 2, 3, 4]
    assert [q.measures.plain.estimate for q in found] == [0, 0, 1, 1]
    assert [q.measures.fixed for q in found] == [2, 2, 0, 0]


def test_mistakes_about_quarters() -> None:
    with pytest.raises(UserError, match="at least 4 problems"):
        quartiles([1, 0, 1], [1, 0, 1], [1, 2, 3])
    with pytest.raises(UserError, match="need one of each"):
        quartiles([1, 0, 1, 0], [1, 0, 1, 0], [1, 2, 3])
    with pytest.raises(UserError, match="2 or more"):
        difficulty([1, 0, 1, 0], [1, 0, 1, 0], [[1, 0, 1, 0]], 0)


# Problems of a group fall together.

EIGHT = [True] * 8
NONE = [False] * 8
TEMPLATES = np.repeat(["a/1", "b/1"], 4)


def _answers(solved: list[bool]) -> tuple[Answer, ...]:
    return tuple(Answer(i, "", "", right, 4, True, 1, 1) for i, right in enumerate(solved))


def _arm(groups: np.ndarray) -> ArmResult:
    (_, search, *_) = planned(Plan(K=2, sections=("p",)), SHORT)
    assert search.baseline == PLAIN
    return _arm_result(search, {search.key: _answers(EIGHT), PLAIN: _answers(NONE)}, groups, 1, 0)


def test_eight_problems_of_two_templates_are_two() -> None:
    alone, grouped = _arm(np.arange(8).astype(str)), _arm(TEMPLATES)
    assert alone.overall.p_value == pytest.approx(2 / 2**8)
    assert grouped.overall.p_value == pytest.approx(2 / 2**2)
    assert grouped.overall.difference.low < alone.overall.difference.low


def test_better_is_said_as_by_evaluate() -> None:
    (bundled, *_) = read_paper(next(iter(bundled_papers().values()))).models
    alone, grouped = _arm(np.arange(8).astype(str)), _arm(TEMPLATES)
    assert replace(bundled, arms=(alone, grouped)).told == (1, 0)
    # A small p-value is not enough where an unseen group would undo it.
    wide = replace(alone.overall, difference=Interval(1.0, -0.1, 1.0))
    assert replace(bundled, arms=(replace(alone, overall=wide),)).told == (0, 0)


def test_quarters_flip_whole_groups() -> None:
    ease = [0, 0, 1, 1, 2, 2, 3, 3]
    pairs = np.repeat(["a", "b", "c", "d"], 2)
    alone, grouped = (quartiles(EIGHT, NONE, ease, 0, g) for g in (None, pairs))
    assert [q.measures.p_value for q in alone] == [0.5] * 4
    assert [q.measures.p_value for q in grouped] == [1.0] * 4
    found = difficulty(EIGHT, NONE, [NONE, EIGHT], 0, np.repeat("a", 8))
    for quarters in (found.independent, found.same_run, found.nothing_changed):
        assert [q.measures.p_value for q in quarters] == [1.0] * 4


# The plan and the command.


def test_the_plan_compares_at_one_temperature() -> None:
    arms = planned(Plan(K=2), SHORT)
    by_key = {arm.key: arm for arm in arms}
    assert len(by_key) == len(arms)
    assert arms[0].key == PLAIN
    for arm in arms:
        if arm.baseline is not None:
            assert by_key[arm.baseline].arm.rule is None
            assert by_key[arm.baseline].arm.settings == arm.arm.settings
    seeds = [a.arm.settings.seed for a in arms if a.section == "difficulty"]
    assert len(set(seeds)) == 4
    assert SHORT.seed not in seeds
    assert {a.section for a in planned(Plan(sections=("p",)), SHORT)} == {"main", "p"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sections": ("q",)}, "unknown 'q'"),
        ({"K": 0}, "at least one step"),
        ({"samples": 1}, "at least two"),
        ({"temperatures": (0.0,)}, "must be positive"),
    ],
)
def test_plans_that_make_no_sense(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Plan(**settings)


def stopping(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    code = exit_.value.code
    assert isinstance(code, int)
    return code


@pytest.mark.slow
def test_paper_from_end_to_end(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    other = _writes_digits(tmp_path / "tiny-two", 7)
    out = tmp_path / "out"
    command = ("paper", "--model", folder, "--problems", 8, "--max-new-tokens", 8, "--window", 2)
    options = ("--samples", 2, "--temperatures", "0.8", "--out", out)
    assert stopping(*command, "--out", out, "--sections", "p") == 0
    shown = capsys.readouterr().out
    assert "Of 5 comparisons" in shown
    assert "search p=0.2" in shown

    # More sections and a second model: what is there is not answered again.
    from empirical.evaluation import runner

    real, calls = runner.answer_batch, []

    def counted(loaded: Any, some: Any, rule: Any, *rest: Any) -> Any:
        calls.append((loaded.name, rule, rest[0].temperature))
        return real(loaded, some, rule, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "answer_batch", counted)
        more = [w for s in ("rivals", "temperature", "difficulty") for w in ("--sections", s)]
        assert stopping(*command, *options, *more, "--against", other, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "paper.json").read_text())
    assert ("tiny-one", Search(2), 0.8) in calls
    assert not {("tiny-one", None, 0.0), ("tiny-one", Search(2), 0.0)} & set(calls)
    assert {("tiny-two", None, 0.0), ("tiny-two", Search(2), 0.0)} <= set(calls)
    assert FORMAT.text(read_paper(out / "paper.json")) + "\n" == (out / "paper.json").read_text()
    first, second = printed["models"]
    assert [m["provenance"]["model"] for m in printed["models"]] == ["tiny-one", "tiny-two"]
    assert len(first["arms"]) == 1 + 5 + 1
    gains = [m["arms"][0]["overall"]["difference"]["estimate"] for m in (first, second)]
    assert printed["contrast"]["gain"]["estimate"] == pytest.approx(gains[0] - gains[1])
    assert (
        sum(c["tokens"] for c in first["substitutions"]["categories"])
        == (first["substitutions"]["tokens"])
    )
    assert len(first["difficulty"]["independent"]) == 4
    page = (out / "paper.html").read_text()
    assert page.count("<svg") == 12
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert str(tmp_path) not in page + (out / "paper.json").read_text()


@pytest.mark.slow
def test_mistakes_of_the_user(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*options: object) -> str:
        assert stopping("paper", "--model", folder, "--out", tmp_path / "o", *options) == 2
        return capsys.readouterr().err

    mute = tmp_path / "mute.jsonl"
    mute.write_text('{"prompt": "Why?", "reference": "So."}\n' * 4)
    assert "has no answer" in told("--prompts", mute)
    assert "expected numbers with commas" in told("--temperatures", "hot")
    for option in ("--temperatures", "--samples"):
        assert f"{option} has no meaning" in told(option, "2", "--sections", "p")
    assert "not both" in told("--prompts", mute, "--problems", 4)
    assert "sections" in told("--sections", "q")
    small = ("--problems", 4, "--max-new-tokens", 3, "--window", 1, "--sections", "p")
    assert "name another model" in told(*small, "--against", folder)


def test_bundled_tables_are_whole() -> None:
    for path in bundled_papers().values():
        (model,) = read_paper(path).models
        assert len(model.solved) == model.problems
        gain = np.diff(np.array(model.solved, dtype=int), axis=1).mean()
        assert model.search.overall.difference.estimate == pytest.approx(gain)


def test_damaged_tables_are_named(tmp_path: Path) -> None:
    file = tmp_path / "paper.json"
    file.write_text('{"format": "layer-stopping paper tables", "version": 1, "models": [{}]}')
    with pytest.raises(UserError, match="incomplete or damaged"):
        read_paper(file)
    file.write_text('{"format": "layer-stopping evaluation", "version": 1}')
    with pytest.raises(UserError, match="no file of paper tables"):
        read_paper(file)


def test_models_are_compared_on_the_same_problems_only() -> None:
    class One:
        def __init__(self, name: str) -> None:
            self.provenance = type("P", (), {"prompts_hash": name, "model": name})()

    with pytest.raises(UserError, match="different problems"):
        contrast(One("a"), One("b"), (), 0)  # type: ignore[arg-type]  # no more is looked at
