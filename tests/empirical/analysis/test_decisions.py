"""Verdicts hold their level where the truth is known, and the earlier method does not."""

import math
from functools import partial

import numpy as np
import pytest

from benchmarks.levels import Population, drawn, errors, exchangeable, population
from empirical.analysis.decisions import (
    LEAST_GROUPS,
    LEAST_PROMPTS,
    ClusterSums,
    Comparison,
    Contest,
    interval_over,
    step_down,
)
from empirical.data import bundled_traces
from empirical.traces.files import read_traces

RNG = np.random.default_rng(0)


def sums_of(difference: np.ndarray, tokens: float = 50.0) -> ClusterSums:
    """Rules (m, n) that move every token, and risk no more than they were seen to lose."""
    m, n = difference.shape
    return ClusterSums(
        difference,
        difference,
        difference,
        np.full(n, tokens),
        np.full(m, n, np.intp),
        np.full(m, n, np.intp),
    )


def test_contest_by_hand() -> None:
    log_loss = np.array([[3.0, 1.0, 2.0], [0.5, 4.0, 1.0]])
    found = Contest.of_choice(log_loss, np.array([1, 2]))
    assert found.difference.tolist() == [-1.0, 0.0]
    assert found.moved.tolist() == [True, False]
    assert found.worst.tolist() == [1.0, 0.0]
    assert found.best.tolist() == [-1.0, 0.0]


def test_sums_by_hand() -> None:
    contest = Contest(
        np.array([1.0, 2.0, 4.0]),
        np.array([True, True, False]),
        np.array([3.0, 3.0, 0.0]),
        np.zeros(3),
    )
    found = ClusterSums.of([contest], np.array([0, 1, 2]), np.array([0, 0, 1]))
    assert found.difference.tolist() == [[3.0, 4.0]]
    assert found.worst.tolist() == [[6.0, 0.0]]
    assert found.tokens.tolist() == [2.0, 1.0]
    assert (found.prompts.tolist(), found.groups.tolist()) == ([2], [1])


def test_the_interval_holds_student_and_the_unseen() -> None:
    difference = RNG.normal(1.0, 5.0, (1, 40))
    safe = interval_over(sums_of(difference), seed=1)[0]
    mean, error = difference.mean() / 50, difference.std(ddof=1) / 40**0.5 / 50
    assert safe.estimate == pytest.approx(mean)
    assert safe.low <= mean - 2.02 * error
    assert safe.high >= mean + 2.02 * error
    risky = sums_of(difference)
    risky = ClusterSums(
        difference, difference + 400.0, difference, risky.tokens, risky.prompts, risky.groups
    )
    found = interval_over(risky, seed=1)[0]
    assert found.high > safe.high + 0.1
    assert found.low == safe.low


def test_one_cluster_allows_no_interval() -> None:
    (found,) = interval_over(sums_of(np.ones((1, 1))), seed=0)
    assert found.estimate == 0.02
    assert math.isnan(found.low)


@pytest.mark.parametrize(
    ("clusters", "verdict"),
    [(LEAST_PROMPTS - 1, Comparison.UNDECIDED), (LEAST_PROMPTS, Comparison.BETTER)],
)
def test_no_verdict_from_fewer_prompts_than_the_minimum(clusters: int, verdict: Comparison) -> None:
    found = step_down(sums_of(np.full((1, clusters), -5.0)), seed=0)
    assert found[0].comparison is verdict


def test_no_verdict_from_few_groups_or_few_prompts_with_moved_tokens() -> None:
    sums = sums_of(np.full((1, 60), -5.0))
    for prompts, groups in ((LEAST_PROMPTS - 1, 60), (60, LEAST_GROUPS - 1)):
        few = ClusterSums(
            sums.difference,
            sums.worst,
            sums.best,
            sums.tokens,
            np.array([prompts]),
            np.array([groups]),
        )
        assert step_down(few, seed=0)[0].comparison is Comparison.UNDECIDED


def test_what_is_decided_makes_room_for_the_others() -> None:
    noise = RNG.normal(0.0, 1.0, 200)
    sure = np.full((9, 200), 40.0) + noise
    weak = noise[None] - noise.mean() + 0.05 + 0.185
    found = step_down(sums_of(np.vstack([sure, weak])), seed=0, material=0.0)
    assert [one.comparison for one in found[:9]] == [Comparison.WORSE] * 9
    assert found[0].interval.level == pytest.approx(1 - 0.05 / 10)
    assert found[9].interval.level == pytest.approx(0.95)


@pytest.fixture(scope="module")
def calibrated_prompts() -> Population:
    """Rules that win a little on most prompts, and lose a third of all on one."""
    name = "smollm2-135m-instruct.reference.temperature"
    return population(name, read_traces(bundled_traces()[name]), by_group=False)


@pytest.mark.slow
def test_the_level_is_held_on_exchangeable_layers() -> None:
    new = errors("exchangeable", "prompt", LEAST_PROMPTS, "new", exchangeable, 60, seed=0)
    assert new.false.low <= 0.05
    old = errors("exchangeable", "prompt", 4, "old", exchangeable, 40, seed=0)
    assert old.false.low > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("count", [LEAST_PROMPTS, 80])
def test_the_level_is_held_on_resampled_traces(calibrated_prompts: Population, count: int) -> None:
    draw = partial(drawn, calibrated_prompts)
    new = errors("calibrated", "prompt", count, "new", draw, 60, seed=0)
    assert new.false.low <= 0.05
    old = errors("calibrated", "prompt", count, "old", draw, 60, seed=0)
    assert old.false.low > 0.05
