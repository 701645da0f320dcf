"""Learned rules: they find a gain that is there, none that is not, and never peek."""

import io
import json
import math
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from empirical.analysis.validate import Comparison
from empirical.analysis.validate.rivals import OWN_TEMPERATURE
from empirical.fitting.learning import Learned, Observations, learn, observe
from empirical.fitting.learning.crossfit import MARGINS, CrossFit, choose, crossfit, deal, realised
from empirical.fitting.learning.outcome import _Choice, _measure
from empirical.fitting.learning.power import power
from empirical.fitting.learning.regressors import Boosting, Ridge
from empirical.fitting.learning.theory import crossfit_theory
from empirical.logits.temperatures import INVERSE_TEMPERATURES
from empirical.traces.files import Traces, write_traces
from stopping.changepoint import ChangePointModel, Scale
from stopping.cli.main import exit_code, group
from stopping.errors import UserError
from stopping.support.parallel import Workers
from tests.empirical.synthetic import calibrated, traces_from, with_mode
from tests.stopping.changepoint.models import one_class

WIDTH = 5
SMALL = Boosting(iterations=20)


def worlds(gain: float, prompts: int = 30, seed: int = 0) -> Traces:
    """Layer L-1 is better than L by `gain` nats where L is uncertain, worse elsewhere.

    Whether L is uncertain shows in its entropy; the log-losses have noise that nothing shows.
    """
    rng = np.random.default_rng(seed)
    n = 40 * prompts
    prompt = np.repeat(np.arange(prompts), 40)
    uncertain = rng.random(n) < 0.5
    entropy = rng.uniform(0.5, 1.5, (n, WIDTH))
    entropy[:, -1] = np.where(uncertain, rng.uniform(2, 3, n), rng.uniform(0, 1, n))
    loss = 6 + rng.normal(0, 0.5, (n, 1)) + rng.normal(0, 0.4, (n, WIDTH))
    loss[:, :-2] += 1.0
    loss[:, -2] += np.where(uncertain, -gain, 0.5)
    top1 = rng.integers(0, 5, (n, WIDTH))
    return traces_from(entropy, -loss, top1, rng.integers(0, 5, n), prompt)


def seen(traces: Traces, other: Traces | None = None) -> Observations:
    return observe(traces, other, K=WIDTH - 1, replicates=200)


@pytest.fixture(scope="module")
def gainful() -> Learned:
    return learn(seen(worlds(0.6)), theory=False)


@pytest.fixture(scope="module")
def gainless() -> Learned:
    return learn(seen(worlds(-0.2)), theory=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ridge", "boosting"])
def test_a_gain_that_is_there_is_found(name: str, gainful: Learned) -> None:
    row = gainful[name]
    assert row.comparison is Comparison.BETTER
    # Half of the tokens gain 0.6 nats.
    assert row.log_loss.low < -0.3 + 0.05
    assert row.log_loss.high < -0.2
    assert row.promised == pytest.approx(row.log_loss.estimate, abs=0.05)
    assert row.moved.estimate == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ridge", "boosting"])
def test_a_gain_that_is_not_there_is_not_found(name: str, gainless: Learned) -> None:
    row, oracle = gainless[name], gainless.rows[-1]
    assert oracle.log_loss.high < -0.05  # in hindsight there is plenty
    assert row.comparison is not Comparison.BETTER
    assert row.log_loss.estimate > -0.01
    assert row.moved.estimate < 0.05


def test_what_a_fold_holds_has_no_say_in_its_margin() -> None:
    traces = worlds(-0.05, prompts=12)
    before = crossfit(seen(traces), Ridge(), folds=3)
    held = deal(traces.prompt, 3, np.random.default_rng(0)) == 1
    for wins in (-1.0, 1.0):  # of every layer there, against the final one
        log_prob = traces.log_prob.copy()
        log_prob[held, :-1] = log_prob[held, -1:] + wins
        after = crossfit(seen(replace(traces, log_prob=log_prob)), Ridge(), folds=3)
        assert (after.margin[held] == before.margin[held]).all()


def test_what_was_fitted_must_not_judge() -> None:
    """Negative control: judged on its own training prompts, the regression finds a gain."""
    observations = seen(worlds(-0.05, prompts=12))
    deep = Boosting(iterations=60)
    (inside,) = deep.fit_predict(observations.features, observations.gain, observations.features)
    honest = crossfit(observations, deep, folds=3).predicted
    cheated = realised(observations.gain, choose(inside, 0.0)).mean()
    assert cheated < -0.02
    assert realised(observations.gain, choose(honest, 0.0)).mean() > cheated + 0.02


def test_features_do_not_know_the_reference() -> None:
    traces = worlds(0.6, prompts=12)
    rng = np.random.default_rng(1)
    other = replace(
        traces,
        log_prob=-rng.exponential(3.0, traces.log_prob.shape).astype(np.float32),
        token=rng.integers(0, 50, len(traces)).astype(np.int32),
        difficulty=np.full(len(traces), 3, dtype=np.int8),
    )
    assert np.array_equal(seen(traces).features, seen(other).features)
    # And they do depend on everything that may be seen.
    for name in ("entropy", "top1", "top1_prob", "residual_norm", "residual_cosine"):
        column = getattr(traces, name)
        shuffled = replace(traces, **{name: np.roll(column, 1, axis=1) * column.dtype.type(0.5)})
        if name == "top1":
            shuffled = replace(traces, top1=np.roll(column, 7, axis=0))
        changed = not np.array_equal(seen(traces).features, seen(shuffled).features)
        assert changed or name in ("top1_prob", "residual_norm", "residual_cosine")
    assert len(seen(traces).names) == seen(traces).features.shape[1]


def test_two_lenses_are_joined_by_token() -> None:
    traces = worlds(0.6, prompts=14)
    kept = traces.select(traces.prompt % 7 != 0)
    lens = replace(kept, provenance=replace(kept.provenance, lens="temperature, abc"))
    both = seen(traces, lens)
    assert len(both.features) == len(kept)
    assert sum(name.startswith("entropy temperature") for name in both.names) == WIDTH
    assert np.array_equal(both.sample.traces.prompt, kept.prompt)
    with pytest.raises(UserError, match="no token in common"):
        seen(traces.select(traces.prompt < 7), lens.select(lens.prompt >= 7))
    with pytest.raises(UserError, match="disagree on the tokens"):
        seen(traces, replace(lens, token=lens.token + 1))
    with pytest.raises(UserError, match="different runs"):
        seen(traces, with_mode(lens, "generated"))


def test_folds_keep_prompts_whole_and_margins_guard() -> None:
    prompt = np.repeat(np.arange(23), 7)
    fold = deal(prompt, 5, np.random.default_rng(0))
    assert all(len(np.unique(fold[prompt == p])) == 1 for p in range(23))
    assert set(fold) == set(range(5))
    with pytest.raises(UserError, match="at least 10"):
        deal(prompt[prompt < 9], 5, np.random.default_rng(0))
    predicted = np.array([[-0.3, -0.3], [0.1, -0.05], [0.2, 0.1]])
    assert choose(predicted, 0.0).tolist() == [1, 1, 2]
    assert choose(predicted, 0.1).tolist() == [1, 2, 2]
    assert choose(predicted, np.inf).tolist() == [2, 2, 2]
    assert realised(predicted, np.array([0, 2, 1])).tolist() == [-0.3, 0.0, 0.1]
    found = CrossFit(predicted, np.array([np.inf, 0.0, 0.0]))
    assert found.choice().tolist() == [2, 1, 2]
    assert found.explained(predicted) == pytest.approx([1.0, 1.0])


@pytest.mark.slow
def test_results_do_not_depend_on_workers() -> None:
    observations = seen(worlds(0.3, prompts=16))
    for regressor in (Ridge(), SMALL):
        alone = crossfit(observations, regressor)
        together = crossfit(observations, regressor, workers=Workers(2))
        assert np.array_equal(alone.predicted, together.predicted)
        assert np.array_equal(alone.margin, together.margin)
        assert set(alone.margin) <= set(MARGINS)


def test_power_is_the_power() -> None:
    """With the number of prompts that is named, four in five experiments find the gain."""
    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(400), 20)
    difference = rng.normal(0, 0.3, 400)[prompt] + rng.normal(0, 1.0, 8000)
    needed = next(n for n in power(difference, prompt) if n.size == 0.05)
    spread = math.sqrt(0.3**2 + 1.0 / 20)
    means = rng.normal(-0.05, spread, (4000, needed.prompts)).mean(axis=1)
    found = means + 1.96 * spread / math.sqrt(needed.prompts) < 0
    assert found.mean() == pytest.approx(0.8, abs=0.05)
    assert needed.tokens == 20 * needed.prompts
    # The negative control: as if tokens were independent, far too few.
    fewer = power(difference, np.arange(8000))
    assert next(n for n in fewer if n.size == 0.05).tokens < 0.5 * needed.tokens


@pytest.mark.slow
def test_the_theory_keeps_its_promise_in_its_own_world() -> None:
    """On tokens of a change-point model the fitted Bayes rule wins what it promises."""
    model = ChangePointModel(one_class().components, np.ones(1))
    tokens = model.sample(np.random.default_rng(0), 800)
    prompt = np.repeat(np.arange(20), 40)
    found = crossfit_theory(tokens.x, prompt, 0.05, Scale())
    bayes, snell, best = found
    assert (bayes.name, snell.name) == ("bayes", "snell c=0.05")
    assert best.name.startswith("best in sample: ")
    last = tokens.excess(np.full(800, 4))
    for rule in (bayes, snell):
        true = tokens.excess(rule.choice) - last
        error = true.std() / math.sqrt(800)
        assert true.mean() + 4 * error < 0
        assert rule.promised.mean() == pytest.approx(true.mean(), abs=4 * error + 0.03)
    assert snell.projections.mean() < bayes.projections.mean() == 4


@pytest.mark.slow
def test_the_theory_takes_windows_as_wide_as_usual() -> None:
    traces = calibrated(prompts=20, tokens=26)
    x = traces.entropy[:, -11:].astype(np.float64)
    bayes, snell, _ = crossfit_theory(x, traces.prompt.astype(np.intp), 0.05, Scale())
    assert (bayes.projections == 10).all()
    assert 0 <= snell.choice.min() <= snell.choice.max() <= 10


def test_the_final_layer_at_its_own_temperature_has_a_row_and_materiality_counts() -> None:
    traces = worlds(-0.2)
    own = traces.log_prob[:, -1].astype(np.float64)
    # A parabola in the logarithm of the inverse temperature, best at the flattest that is kept.
    away = np.log(np.array(INVERSE_TEMPERATURES))
    gains = 0.1 * (1 - ((away - away[0]) / away[0]) ** 2)
    traces = replace(traces, tempered=(own[:, None] + gains).astype(np.float32))
    observations, K = seen(traces), WIDTH - 1
    still = np.full(len(own), K)
    choices = [_Choice("search", "paper", still, np.nan, 0), _Choice("o", "hindsight", still, 0, 0)]
    for material, said in ((0.001, Comparison.BETTER), (0.2, Comparison.UNDECIDED)):
        names = {row.name: row for row in _measure(observations, choices, material)}
        assert list(names) == ["search", OWN_TEMPERATURE, "o"]
        row = names[OWN_TEMPERATURE]
        assert row.kind == "rival"
        assert row.log_loss.estimate == pytest.approx(-0.1, abs=0.01)
        assert row.comparison is said
        assert row.moved.estimate == row.projections == 0
    bare = replace(traces, tempered=np.empty((len(own), 0), np.float32))
    assert [row.name for row in _measure(seen(bare), choices, 0.001)] == ["search", "o"]


@pytest.mark.slow
def test_own_text_gets_no_verdict() -> None:
    found = learn(seen(with_mode(worlds(0.6, prompts=12), "generated")), theory=False)
    assert found.reference_is_own_text
    assert all(row.comparison is None for row in found.rows)


def run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = exit_code(lambda: group.main(["learn", *arguments], standalone_mode=False))
    return code, out.getvalue(), err.getvalue()


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_traces(path, worlds(0.6, prompts=30))
    options = ("--window", "4", "--no-theory", "--replicates", "100", "--jobs", "1")
    code, out, err = run(str(path), *options)
    assert code == 0, err
    assert "Better than the final layer on new prompts" in out
    assert "four times in five" in out
    assert "better or worse by more than 0.001 nats" in " ".join(out.split())
    code, out, _ = run(str(path), *options, "--json")
    (result,) = json.loads(out)
    assert result["learned"]["rows"][-1]["name"] == "hindsight oracle"
    assert len(result["learned"]["power"]) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.parquet",), "no such file"),
        (("--with", "x.parquet"), "one trace file"),
        (("--cost", "-1"), "cost"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], words: str) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert words in err


def test_too_few_prompts(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_traces(path, calibrated(prompts=6, tokens=10, layers=5))
    code, _, err = run(str(path), "--window", "4", "--no-theory", "--jobs", "1")
    assert code == 2
    assert "trace more" in err


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    code, _, err = run()
    assert code == 2
    assert "pip install" in err
    assert "[learn]" in err
    assert "Traceback" not in err
