"""Bets hold their level on any bounded distribution, and win where the mean is low."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopping.errors import UserError
from stopping.support.betting import STAKES, log_wealth, p_value, values_needed
from stopping.types import FloatArray

UPPER, LEVEL, N, RUNS = 1.0, 0.2, 60, 4000


def null_samples(kind: str, mean: float = LEVEL) -> FloatArray:
    """Values of a given mean, none above `UPPER`, in `RUNS` columns."""
    rng = np.random.default_rng(5)
    if kind == "two points":
        return (rng.random((N, RUNS)) < mean).astype(float)
    if kind == "rare and deep":  # a gain of 40 once in 200 hides a steady loss
        deep = rng.random((N, RUNS)) < 0.005
        usual = (mean + 0.005 * 40) / 0.995
        return np.where(deep, -40.0, usual)
    return 2 * mean * rng.random((N, RUNS))


def ever(wealth: FloatArray, delta: float) -> float:
    """Share of the samples that ever reach 1 / delta."""
    return float((wealth.max(axis=0) >= math.log(1 / delta)).mean())


@pytest.mark.parametrize("kind", ["two points", "rare and deep", "uniform"])
@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_level_holds_at_every_look(kind: str, delta: float) -> None:
    margin = 3 * math.sqrt(delta * (1 - delta) / RUNS)
    assert ever(log_wealth(null_samples(kind), UPPER, LEVEL), delta) <= delta + margin


def test_control_a_t_test_is_fooled_by_rare_deep_values() -> None:
    """What the bet is for: the usual test takes a rare gain for a steady one, or none."""
    x = null_samples("rare and deep", mean=LEVEL)
    shifted = -x  # rare losses: mean -LEVEL, and most samples see none
    t = (shifted.mean(axis=0) + LEVEL) / (shifted.std(axis=0, ddof=1) / math.sqrt(N) + 1e-12)
    assert (t < -1.645).mean() > 0.5


def test_bets_win_where_the_mean_is_low() -> None:
    assert ever(log_wealth(null_samples("two points", 0.02), UPPER, LEVEL), 0.05) > 0.8


def test_one_value_by_hand() -> None:
    ratio = (1.0 - 0.5) / (1.0 - 0.2)
    expected = np.mean([1 + k * (ratio - 1) for k in STAKES])
    assert math.exp(log_wealth([0.5], 1.0, 0.2)[0]) == pytest.approx(expected)
    assert p_value([0.5], 1.0, 0.2) == 1.0
    assert p_value([], 1.0, 0.2) == 1.0


@given(st.floats(0.01, 5), st.floats(0.05, 0.9), st.sampled_from([0.01, 0.1, 0.3]))
def test_needed_values_are_just_enough(upper: float, share: float, delta: float) -> None:
    level = share * upper
    n = values_needed(upper, level, delta)
    assert p_value(np.zeros(n), upper, level) <= delta * (1 + 1e-9)
    assert n == 1 or p_value(np.zeros(n - 1), upper, level) > delta * (1 - 1e-9)


@pytest.mark.parametrize("values", [[math.nan], [1.1], [math.inf]])
def test_values_that_cannot_be(values: list[float]) -> None:
    with pytest.raises(UserError, match="above 1"):
        log_wealth(values, 1.0, 0.2)


def test_levels_that_cannot_be() -> None:
    with pytest.raises(UserError, match="level below"):
        log_wealth([0.0], 1.0, 1.0)
    with pytest.raises(UserError, match="no evidence"):
        values_needed(1.0, 0.2, 0.1, value=0.2)


def test_a_value_at_its_bound_loses_what_is_staked() -> None:
    found = log_wealth([1.0], 1.0, 0.0)
    assert math.exp(found[0]) == pytest.approx(np.mean([1 - k for k in STAKES]))
