"""T13 from above: the uniform recursion, the adaptive adversary, and what holds for any law."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import factorial

from stopping.errors import UserError
from stopping.model.densities import LAWS, Density, Law, laplace, normal, uniform
from stopping.theory.adaptive_average import adaptive_bound, distribution_free_bound
from stopping.theory.averages import proved_bound
from stopping.theory.uniform_average import uniform_average
from stopping.theory.worst_drifts import drift_excess
from stopping.types import FloatArray

EXACT = 0.155828324700310363
FALLS = st.lists(st.floats(0, 1.2), min_size=1, max_size=8)


def uniform_reach(falls: FloatArray, eps_max: float) -> FloatArray:
    """`P(the search reaches V* - j)`, j = 1..J, by the theorem on the reach."""
    j = np.arange(1, len(falls) + 1)
    u = np.maximum(1.0 - np.cumsum(falls) / (2.0 * eps_max), 0.0)
    reached: FloatArray = u ** (j + 1) / factorial(j + 1)
    return reached


def excess(values: FloatArray, weights: FloatArray, falls: list[float]) -> float:
    """Expected excess for a discrete law, from the definition of the search."""
    reached, total = weights.copy(), 0.0
    for fall in falls:
        above = values[None, :] > values[:, None] + fall
        reached = weights * (above @ reached)
        total += fall * float(reached.sum())
    return total


@given(FALLS)
def test_uniform_reach_is_the_exact_distribution(falls: list[float]) -> None:
    gamma = np.array(falls)
    closed = float(uniform_reach(gamma, 1.0) @ gamma)
    assert closed == pytest.approx(drift_excess(gamma, uniform(1.0)), abs=1e-11)
    assert float(uniform_reach(gamma * 0.3, 0.3) @ gamma) == pytest.approx(closed, abs=1e-12)


def test_the_constant_is_known_to_eighteen_digits() -> None:
    found = uniform_average()
    assert found.lower < found.upper
    assert found.upper - found.lower < Fraction(1, 10**18)
    assert abs(found.lower - Fraction("0.155828324700310363")) < Fraction(1, 10**18)
    falls = np.array(found.falls)
    assert float(uniform_reach(falls, 1.0) @ falls) == pytest.approx(EXACT, abs=1e-15)
    # The stationary points are those that the optimiser finds.
    assert falls[:3] == pytest.approx([0.62014, 0.33047, 0.20402], abs=1e-5)


def test_every_window_brackets_the_same_constant() -> None:
    brackets = [uniform_average(J) for J in range(1, 8)]
    for found in brackets:
        assert found.lower < EXACT < found.upper
    # Negative control: a quarter of the remainder does not cover what deeper windows add to one.
    shallow = brackets[0]
    assert shallow.lower + (shallow.upper - shallow.lower) / 4 < uniform_average().lower
    assert brackets[0].lower == pytest.approx(4 / 27, abs=1e-15)
    assert brackets[0].lower <= Fraction(4, 27)
    lower = [found.lower for found in brackets]
    assert lower == sorted(lower)


@given(FALLS)
def test_no_falls_beat_the_constant(falls: list[float]) -> None:
    gamma = np.array(falls)
    assert float(uniform_reach(gamma, 1.0) @ gamma) <= EXACT + 1e-15


def test_neighbours_of_the_maximiser_lose_less() -> None:
    best = np.array(uniform_average(6).falls)
    value = float(uniform_reach(best, 1.0) @ best)
    for j in range(4):
        for step in (-1e-3, 1e-3):
            moved = best.copy()
            moved[j] += step
            assert float(uniform_reach(moved, 1.0) @ moved) < value


def adversary(density: Density, nodes: int, below: bool) -> float:
    """The adaptive adversary's value: on sums that never exceed the integrals, or by trapezia."""
    end = -density.edges[0] if density.cdf(np.array(density.edges[:1]))[0] == 0 else 7.5
    e = np.linspace(-end, end, nodes + 1)
    F = density.cdf(e)
    mass = np.diff(F)

    def of_cells(v: FloatArray) -> FloatArray:
        # v rises: a cell counts with its lower end, or with its middle.
        return v[:-1] if below else (v[1:] + v[:-1]) / 2

    v = np.zeros(nodes + 1)
    for _ in range(12):
        B = np.concatenate([[0.0], np.cumsum(mass * of_cells(v))])
        v = np.where(e[None, :] <= e[:, None], (e[:, None] - e) * F + B, 0.0).max(axis=1)
    step, came = e[1] - e[0], of_cells(v)
    passed = np.append(1.0 - F, np.zeros(nodes + 1))
    passed = passed[1:] if below else (passed[1:] + passed[:-1]) / 2
    return max(float((mass * passed[s : s + nodes]) @ (s * step + came)) for s in range(nodes // 2))


@pytest.mark.parametrize("law", LAWS[:3], ids=lambda law: law.name)
def test_the_adaptive_bound_lies_just_above_the_adversary(law: Law) -> None:
    """Sums from below come within 1.5 %, trapezia, which prove nothing, to the fourth digit."""
    bound = adaptive_bound(law.density, 1000)
    below = adversary(law.density, 700, below=True)
    assert below < bound
    # Negative control: a bound 2 % smaller is refuted.
    assert 0.98 * bound < below
    near = adversary(law.density, 1200, below=False)
    assert -5e-6 < bound - near < 1.2e-4


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_the_proved_bound_is_above_what_falls_attain(law: Law) -> None:
    falls = np.array([0.98, 0.68, 0.56]) if law.unit == "sigma" else np.array([0.62, 0.33, 0.2])
    attained = drift_excess(falls, law.density)
    proved = proved_bound(law, 1000)
    assert attained < proved < 1.15 * attained
    assert proved <= distribution_free_bound(1.0)


def test_finer_grids_prove_more_and_the_scale_is_a_factor() -> None:
    coarse, fine = (adaptive_bound(normal(1.0), cells) for cells in (500, 1000))
    assert 0.2576 < fine < coarse < 0.259
    assert adaptive_bound(normal(1e-3), 500) * 1e3 == pytest.approx(coarse, rel=1e-9)
    assert adaptive_bound(laplace(7.0), 500) / 7 == pytest.approx(
        adaptive_bound(laplace(1.0), 500), rel=1e-9
    )


@settings(deadline=None)
@given(st.integers(0, 10**6), FALLS)
def test_no_law_within_its_scales_loses_more(seed: int, falls: list[float]) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 7))
    values = np.where(rng.random(size) < 0.5, rng.uniform(-1, 1, size), rng.choice([-1, 1], size))
    weights = rng.dirichlet(np.full(size, rng.choice([0.2, 1.0])))
    deviation = float(np.sqrt(weights @ (values - weights @ values) ** 2))
    found = excess(values, weights, falls)
    assert found <= distribution_free_bound(deviation, 1.0) + 1e-12
    # What the excess is not known to exceed: half of the deviation.
    assert found <= 0.5 * deviation + 1e-12


def test_half_the_noise_bound_is_attained() -> None:
    two_points = excess(np.array([-1.0, 1.0]), np.array([0.5, 0.5]), [1.999999])
    assert two_points == pytest.approx(distribution_free_bound(eps_max=1.0), abs=1e-6)
    # Negative control: a bound 10 % smaller is refuted.
    assert two_points > 0.9 * distribution_free_bound(eps_max=1.0)


def test_bad_input() -> None:
    for scales in ({}, {"deviation": -1.0}, {"eps_max": np.nan}, {"deviation": np.inf}):
        with pytest.raises(UserError, match="standard deviation or a noise bound"):
            distribution_free_bound(**scales)
    with pytest.raises(UserError, match="even number"):
        adaptive_bound(normal(1.0), 501)
    with pytest.raises(UserError, match="take more cells"):
        adaptive_bound(normal(1.0), 100)
    shifted = Density(
        lambda y: np.where((y >= -1) & (y <= 0), 1.0, 0.0),
        lambda y: np.clip(y + 1, 0, 1),
        (-1.0, 0.0),
    )
    with pytest.raises(UserError, match="symmetric about 0"):
        adaptive_bound(shifted, 500)
    with pytest.raises(UserError, match="at least 1"):
        uniform_average(0)
