"""Certificates hold their level on real prompts drawn anew; naive ones do not."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from empirical.analysis.certify import GRID, certify_risk, exchange
from empirical.analysis.certify.core import choose, excess, largest, units_of
from empirical.data import bundled_traces
from empirical.traces.files import Traces, read_traces, write_traces
from stopping.cli.main import exit_code, group
from stopping.errors import UserError
from stopping.rules import AbstractRule, FixedOffset, Search
from stopping.support.betting import log_wealth, values_needed
from stopping.types import BoolArray, FloatArray
from tests.empirical.synthetic import calibrated, traces_from, with_mode

ALPHA, DELTA, RUNS, PROMPTS = 0.01, 0.1, 1500, 80
RULE = Search(10)


@pytest.fixture(scope="module")
def smollm() -> Traces:
    return read_traces(bundled_traces()["smollm2-135m-instruct.reference"])


@pytest.fixture(scope="module")
def population(smollm: Traces) -> FloatArray:
    """Mean excess of each real prompt at each share of the grid, shape (prompts, shares)."""
    choice = choose(RULE, smollm, np.random.default_rng(0))
    _, labels = units_of(smollm, "prompt", 0)
    return np.column_stack([excess(smollm, choice, labels, "log-loss", s) for s in GRID])


def draws(population: FloatArray) -> FloatArray:
    """Prompts drawn anew from the real ones, shape (PROMPTS, RUNS, shares)."""
    return population[np.random.default_rng(11).integers(len(population), size=(PROMPTS, RUNS))]


def violations(population: FloatArray, passed: BoolArray) -> float:
    """Share of the runs whose last passed setting costs more than ALPHA in the population."""
    certified = np.logical_and.accumulate(passed, axis=1)
    last = certified.sum(axis=1) - 1
    costs = population.mean(axis=0)
    return float(((last >= 0) & (costs[last] > ALPHA)).mean())


def test_violations_stay_below_delta_on_real_prompts(population: FloatArray) -> None:
    x = draws(population)
    passed = np.empty((RUNS, len(GRID)), dtype=bool)
    for j, share in enumerate(GRID):
        most = largest("log-loss", share)
        passed[:, j] = most <= ALPHA or (
            log_wealth(x[:, :, j], most, ALPHA).max(axis=0) >= math.log(1 / DELTA)
        )
    assert violations(population, passed) <= DELTA
    # Not by certifying nothing.
    assert passed[:, GRID.index(0.95)].mean() > 0.9


def test_control_the_naive_choice_violates(population: FloatArray) -> None:
    x = draws(population)
    costs = population.mean(axis=0)
    # A level at which some share costs just more than is accepted.
    j = int(np.argmax(costs > ALPHA))
    shifted = population + (ALPHA * 1.001 - costs[j])
    naive = (x + (ALPHA * 1.001 - costs[j])).mean(axis=0) <= ALPHA
    assert violations(shifted, naive) > 2 * DELTA


@pytest.mark.slow
def test_control_tokens_as_units_violate(smollm: Traces) -> None:
    """Whole prompts are drawn, and their tokens are taken for independent draws."""
    share, delta = 0.5, 0.05
    choice = choose(RULE, smollm, np.random.default_rng(0))
    labels = np.arange(len(smollm))
    token = excess(smollm, choice, labels, "log-loss", share)
    most = largest("log-loss", share)
    prompts = np.unique(smollm.prompt)
    rows = [np.flatnonzero(smollm.prompt == p) for p in prompts]
    level = float(np.mean([token[r].mean() for r in rows]))  # the truth: nothing below it
    rng = np.random.default_rng(3)
    wrong, right, runs = 0, 0, 300
    for _ in range(runs):
        drawn = [rows[i] for i in rng.integers(len(rows), size=60)]
        by_prompt = [token[r].mean() for r in drawn]
        tokens = np.concatenate([np.tile(token[r], 8) for r in drawn])
        wrong += log_wealth(tokens, most, level).max() >= math.log(1 / delta)
        right += log_wealth(by_prompt, most, level).max() >= math.log(1 / delta)
    assert right / runs <= delta
    assert wrong / runs > 3 * delta


def test_search_on_real_tokens(smollm: Traces) -> None:
    found = certify_risk(smollm, [RULE], ALPHA, DELTA)
    best = found.best
    assert best is not None
    assert best.excess < ALPHA
    assert best.share == found.allowed(RULE.spec()).share  # type: ignore[union-attr]
    passed = [s.certified for s in found.settings]
    assert passed == sorted(passed, reverse=True)
    assert "Certified" in str(found)


def test_more_is_certified_where_more_is_accepted(smollm: Traces) -> None:
    shares = [certify_risk(smollm, [RULE], alpha).best.share for alpha in (0.005, 0.02, 0.1)]  # type: ignore[union-attr]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_a_harmless_rule_is_certified_wholly() -> None:
    """Both layers say the same: the last share of the grid passes."""
    traces = calibrated(prompts=200, tokens=20, layers=3)
    same = replace(traces, log_prob=np.repeat(traces.log_prob[:, -1:], 3, axis=1))
    found = certify_risk(same, [FixedOffset(1)], 0.1, grid=(0.9, 0.5, 0.1))
    assert found.best is not None
    assert found.best.share == 0.1


def test_accuracy_by_hand() -> None:
    """The rule is wrong on every second token of every prompt, the final layer never."""
    n = 200
    token = np.zeros(n)
    top1 = np.stack([np.arange(n) % 2, token], axis=1)
    traces = traces_from(np.tile([0.1, 1.0], (n, 1)), np.full((n, 2), -1.0), top1, token,
                         np.repeat(np.arange(n // 4), 4))  # fmt: skip
    found = certify_risk(traces, [FixedOffset(1)], 0.2, loss="accuracy", grid=(0.9, 0.7, 0.5))
    assert [s.excess for s in found.settings] == pytest.approx([0.05, 0.15, 0.25])
    assert [s.certified for s in found.settings] == [True, True, False]
    assert found.settings[0].p_value == 0.0  # a share of 0.9 costs 10 points at most


def test_rules_share_the_error(smollm: Traces) -> None:
    rules: list[AbstractRule] = [RULE, FixedOffset(1)]
    found = certify_risk(smollm, rules, ALPHA, DELTA)
    assert found.level == DELTA / 2
    assert found.rules == tuple(rule.spec() for rule in rules)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"delta": 1.0}, "delta"),
        ({"grid": (0.5, 0.9)}, "descend"),
        ({"grid": (0.5, 0.5)}, "descend"),
        ({"grid": (1.0, 0.5)}, "between 0 and 1"),
        ({"grid": ()}, "between 0 and 1"),
        ({"rules": []}, "at least one"),
        ({"rules": [Search(2), Search(2)]}, "more than once"),
        ({"rules": [Search(12)]}, "traced layers"),
        ({"unit": "group"}, "no group"),
    ],
)
def test_bad_requests(change: dict[str, object], message: str) -> None:
    request: dict[str, object] = {"rules": [Search(2)], "alpha": 0.1, **change}
    with pytest.raises(UserError, match=message):
        certify_risk(calibrated(), **request)  # type: ignore[arg-type]


def test_tokens_are_no_units() -> None:
    traces = calibrated(prompts=50, tokens=1)
    with pytest.raises(UserError, match="which prompt each token belongs to"):
        certify_risk(traces, [Search(2)], 0.1)


def test_own_text_is_refused() -> None:
    with pytest.raises(UserError, match="own greedy text"):
        certify_risk(with_mode(calibrated(), "generated"), [Search(2)], 0.1)


def test_too_few_prompts_and_how_many_are_needed() -> None:
    with pytest.raises(UserError, match="certified below") as refused:
        certify_risk(calibrated(prompts=20), [Search(2)], 0.005, grid=(0.5, 0.4))
    needed = values_needed(math.log(2), 0.005, 0.1)
    assert f"certified below {needed};" in str(refused.value)
    assert "trace more prompts" in str(refused.value)


def test_same_prompts_do_not_differ_and_others_do(smollm: Traces) -> None:
    prompts = np.random.default_rng(1).permutation(np.unique(smollm.prompt))
    half = np.isin(smollm.prompt, prompts[::2])
    assert not exchange(smollm.select(half), smollm.select(~half), RULE).differ
    easy = smollm.entropy[:, -1] < np.median(smollm.entropy[:, -1])
    shifted = exchange(smollm.select(half), smollm.select(~half & easy), RULE)
    assert shifted.differ
    assert "says nothing about them" in str(shifted)


@pytest.mark.slow
def test_exchange_holds_its_level() -> None:
    traces = calibrated(prompts=60, tokens=5, layers=4)
    rng = np.random.default_rng(2)
    refuted = 0
    for run in range(40):
        first = np.isin(traces.prompt, rng.permutation(60)[:30])
        refuted += exchange(traces.select(first), traces.select(~first), Search(2), seed=run).differ
    assert refuted <= 6  # binomial with 40 and 5 %: 1 in 200 beyond


def run(call: list[str]) -> int:
    return exit_code(lambda: group.main(call, standalone_mode=False))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.parquet"
    write_traces(path, calibrated(prompts=100, tokens=10))
    call = ["certify", str(path), "--alpha", "0.1", "--rule", "search:K=3"]
    assert run(call) == 0
    assert "Excess of log-loss" in capsys.readouterr().out
    assert run([*call, "--against", str(path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["exchange"]["p_value"] > 0.9
    assert found["certificate"]["units"] == 100
    assert run(["certify", "--against", str(path)]) == 2
    assert "one file of traces" in capsys.readouterr().err
