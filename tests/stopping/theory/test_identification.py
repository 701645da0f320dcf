"""T9 against two other algorithms: rational Bellman-Ford and linear programming."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from stopping.errors import UserError
from stopping.theory.identification import Identification, identify
from stopping.types import FloatArray

# Small integers: ties, plateaus and monotone runs are common, and halves and thirds are exact in
# the rational algorithm below.
windows = st.lists(st.integers(0, 6), min_size=2, max_size=6)
levels = st.fractions(min_value=0, max_value=4, max_denominator=12)


def explains_exactly(x: list[int], v: int, eps: Fraction) -> bool:
    """Decide whether C_v(x) is nonempty with rational Bellman-Ford.

    A constraint `G[j] - G[i] <= w`, or `< w` with strictness 1, is the edge i -> j of weight
    `(w, -strict)`; pairs are compared lexicographically, so a strict cycle of weight zero counts
    as negative. Node `len(x)` is the constant zero.
    """
    zero = len(x)
    edges = [(zero, k, (x[k] + eps, 0)) for k in range(zero)]
    edges += [(k, zero, (eps - x[k], 0)) for k in range(zero)]
    for k in range(1, zero):
        if k <= v:
            edges.append((k - 1, k, (Fraction(0), 0)))
        else:
            edges.append((k, k - 1, (-2 * eps, -1)))
    distance = [(Fraction(0), 0)] * (zero + 1)
    for _ in range(zero + 2):
        changed = False
        for i, j, (weight, strict) in edges:
            through = (distance[i][0] + weight, distance[i][1] + strict)
            if through < distance[j]:
                distance[j], changed = through, True
        if not changed:
            return True
    return False


def slack_by_lp(x: FloatArray, v: int, eps: float) -> float:
    """Return the largest t with |G - x| <= eps, G falling to v, rises >= 2 eps + t after it."""
    layers = len(x)
    rows, limits = [], []
    for k in range(1, layers):
        row = np.zeros(layers + 1)
        if k <= v:
            row[k], row[k - 1] = 1, -1
            limits.append(0.0)
        else:
            row[k], row[k - 1], row[-1] = -1, 1, 1
            limits.append(-2 * eps)
        rows.append(row)
    bounds = [(value - eps, value + eps) for value in x] + [(None, 1.0)]
    cost = np.zeros(layers + 1)
    cost[-1] = -1
    found = linprog(cost, A_ub=np.array(rows), b_ub=limits, bounds=bounds)
    return -np.inf if found.x is None else float(found.x[-1])


def disagreements(
    explains: Callable[[Identification, int, float], bool], x: list[int], eps: Fraction
) -> int:
    found = identify(np.array([x], dtype=float))
    return sum(explains(found, v, float(eps)) != explains_exactly(x, v, eps) for v in range(len(x)))


def half_open(found: Identification, v: int, eps: float) -> bool:
    return bool(found.consistent(eps)[0, v])


def ends_swapped(found: Identification, v: int, eps: float) -> bool:
    return bool(found.lower[0, v] < eps <= found.upper[0, v])


def both_closed(found: Identification, v: int, eps: float) -> bool:
    return bool(found.lower[0, v] <= eps <= found.upper[0, v])


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(windows, st.sampled_from([Fraction(k, 2) for k in range(9)]))
def test_interval_is_exactly_the_consistent_noise_levels(x: list[int], eps: Fraction) -> None:
    """Half-integers hit both ends of the intervals again and again, and are exact as floats."""
    assert disagreements(half_open, x, eps) == 0


@settings(max_examples=150, deadline=None)
@given(windows, st.data())
def test_every_finite_end_is_decided_exactly(x: list[int], data: st.DataObject) -> None:
    """At `a_v` the token is explained, at `b_v` it is not: asked of the rational algorithm."""
    v = data.draw(st.integers(0, len(x) - 1))
    found = identify(np.array([x], dtype=float))
    if np.isnan(found.lower[0, v]):
        for eps in [Fraction(k, 12) for k in range(0, 60, 5)]:
            assert not explains_exactly(x, v, eps)
        return
    below = Fraction(found.lower[0, v])
    assert explains_exactly(x, v, below)
    if below > 0:
        assert not explains_exactly(x, v, below - Fraction(1, 1000))
    if np.isfinite(found.upper[0, v]):
        # b_v is a ratio of small integers, so the float determines it.
        end = Fraction(found.upper[0, v]).limit_denominator(100)
        assert not explains_exactly(x, v, end)
        assert explains_exactly(x, v, max(below, end - Fraction(1, 1000)))


@pytest.mark.slow
@pytest.mark.parametrize("broken", [ends_swapped, both_closed])
def test_broken_ends_are_rejected(broken: Callable[[Identification, int, float], bool]) -> None:
    rng = np.random.default_rng(9)
    draws = [(list(map(int, rng.integers(0, 7, 5))), Fraction(k, 2)) for k in range(7)] * 20
    rows = [(sorted(x) if i % 2 else x, eps) for i, (x, eps) in enumerate(draws)]
    assert sum(disagreements(half_open, x, eps) for x, eps in rows) == 0
    assert sum(disagreements(broken, x, eps) for x, eps in rows) > 0


@pytest.mark.slow
def test_linear_programming_agrees_on_random_traces() -> None:
    rng = np.random.default_rng(0)
    compared = explained = 0
    for _ in range(150):
        x = rng.normal(size=rng.integers(2, 8))
        if rng.random() < 0.5:
            x = np.sort(x) if rng.random() < 0.5 else np.abs(x - x[0])
        eps = float(rng.exponential(0.4))
        found = identify(x[None])
        for v in range(len(x)):
            slack = slack_by_lp(x, v, eps)
            # HiGHS meets its constraints to 1e-7; nearer to zero than that it decides nothing.
            if v < len(x) - 1 and abs(slack) < 1e-6:
                continue
            assert found.consistent(eps)[0, v] == (slack > 0)
            compared += 1
            explained += bool(slack > 0)
    assert compared > 600
    assert 50 < explained < compared - 50


@settings(max_examples=200, deadline=None)
@given(windows, levels)
def test_at_most_two_neighbouring_turning_points(x: list[int], eps: Fraction) -> None:
    places = np.flatnonzero(identify(np.array([x], dtype=float)).consistent(float(eps))[0])
    assert len(places) <= 2
    assert np.ptp(places) <= 1 if len(places) else True


def test_two_turning_points_do_occur() -> None:
    assert identify([[0.0, 0.1]]).consistent(1.0).tolist() == [[True, True]]


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(windows)
def test_least_noise_level_is_attained_and_least(x: list[int]) -> None:
    found = identify(np.array([x], dtype=float))
    least, v = float(found.least_eps_max[0]), int(found.turning_point[0])
    assert explains_exactly(x, v, Fraction(least))
    below = [Fraction(least) * k / 8 for k in range(8)] if least > 0 else []
    assert not any(explains_exactly(x, u, eps) for u in range(len(x)) for eps in below)
    assert not any(explains_exactly(x, u, Fraction(least)) for u in range(v))


def test_known_windows() -> None:
    falling, valley, run = [3.0, 2.0, 1.0], [2.0, 1.0, 4.0], [0.0, 1.0, 3.0]
    found = identify([falling, valley, run])
    assert found.least_eps_max.tolist() == [0.0, 0.0, 0.0]
    assert found.turning_point.tolist() == [2, 1, 0]
    np.testing.assert_array_equal(found.upper[2], [1.5, np.inf, np.inf])
    np.testing.assert_array_equal(found.lower[2], [0.0, 0.5, 1.5])
    assert np.isnan(found.lower[0]).tolist() == [True, True, False]


def test_a_turning_point_whose_ends_meet_explains_nothing() -> None:
    """`a_v = b_v` at the third layer: no noise level lies below its own upper end."""
    found = identify([[0.0, 1.0, 0.5, 1.2, 1.5]])
    assert np.isnan(found.lower[0, 2])
    assert found.turning_point[0] == 3


def test_worlds_of_the_model_are_explained_by_their_own_turning_point() -> None:
    rng = np.random.default_rng(1)
    n, layers, eps = 4000, 8, 0.3
    turning = rng.integers(0, layers, n)
    steps = np.where(
        np.arange(layers) <= turning[:, None],
        -rng.exponential(0.2, (n, layers)),
        2 * eps + rng.exponential(0.2, (n, layers)) + 1e-9,
    )
    x = np.cumsum(steps, axis=1) + rng.uniform(-eps, eps, (n, layers))
    found = identify(x)
    assert found.consistent(eps)[np.arange(n), turning].all()
    assert (found.least_eps_max <= eps).all()
    assert not found.refuted(eps).any()
    # The negative control: with the rises below 2 eps_max the same check must fail somewhere.
    weak = np.where(np.arange(layers) <= turning[:, None], steps, 0.5 * steps)
    y = np.cumsum(weak, axis=1) + rng.uniform(-eps, eps, (n, layers))
    assert not identify(y).consistent(eps)[np.arange(n), turning].all()


def test_refutation_is_relative_to_the_ceiling() -> None:
    found = identify([[0.0, 1.0, 0.5], [0.0, 0.0, 0.0]])
    assert found.least_eps_max.tolist() == [0.5, 0.0]
    assert found.refuted(0.5).tolist() == [False, False]
    assert found.refuted(0.49).tolist() == [True, False]


def test_noise_level_per_token() -> None:
    found = identify([[0.0, 1.0], [0.0, 1.0]])
    assert found.consistent([0.4, 0.5]).tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize(
    "x",
    [
        [[0.0, np.nan]],
        [[0.0, np.inf]],
        [[1.0], [2.0]],
        [0.0, 1.0],
        [[[0.0, 1.0]]],
        [["a", "b"]],
    ],
)
def test_bad_windows_are_the_users_error(x: object) -> None:
    with pytest.raises(UserError):
        identify(x)  # type: ignore[arg-type]


@pytest.mark.parametrize("eps_max", [-0.1, np.nan, np.inf, [0.1, 0.2, 0.3], [[0.1]], True])
def test_bad_noise_levels_are_the_users_error(eps_max: object) -> None:
    with pytest.raises(UserError, match="eps_max"):
        identify([[0.0, 1.0], [1.0, 0.0]]).consistent(eps_max)  # type: ignore[arg-type]
