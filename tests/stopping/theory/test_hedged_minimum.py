"""T15: the closed form against linear programs, its value, and sparsemax as negative control."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from stopping.claims.weaker import full_level
from stopping.errors import UserError
from stopping.rules import HedgedMinimum, WindowMinimum, parse_rule
from stopping.theory.hedged_minimum import hedged_minimum, window_game_value, worst_window_loss
from stopping.types import FloatArray

WINDOW = st.lists(st.floats(0, 5), min_size=2, max_size=7)
LEVEL = st.sampled_from([0.05, 0.3, 1.0, 4.0])


def program(x: FloatArray, eps_max: float) -> float:
    """Least worst loss over all randomised rules, by linear programming."""
    n = len(x)
    y = x - x.min()
    loss = np.tile(y, (n, 1)) - 2 * eps_max * np.eye(n)
    found = linprog(
        np.append(np.zeros(n), 1.0),
        A_ub=np.column_stack([loss, -np.ones(n)]),
        b_ub=y - 2 * eps_max,
        A_eq=np.append(np.ones(n), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)],
    )
    return float(found.fun)


@given(WINDOW, LEVEL)
def test_closed_form_is_the_linear_program(x: list[float], eps_max: float) -> None:
    window = np.array(x)
    weights = hedged_minimum(window[None], eps_max)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    loss = worst_window_loss(weights, window[None], eps_max)[0]
    # HiGHS meets optimality to 1e-7.
    assert loss == pytest.approx(program(window, eps_max), abs=1e-6)
    assert loss <= window_game_value(eps_max, len(x) - 1) + 1e-9


@given(WINDOW, LEVEL, st.integers(0, 10**6))
def test_worst_loss_is_attained_by_an_admissible_world(
    x: list[float], eps_max: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    window = np.array(x)
    q = rng.dirichlet(np.ones(len(x)))
    claimed = worst_window_loss(q[None], window[None], eps_max)[0]
    losses = []
    for best in range(len(x)):
        G = window + eps_max
        G[best] = window[best] - eps_max
        losses.append(q @ G - G[best])
    assert claimed == pytest.approx(max(losses), abs=1e-9)
    drawn = window + eps_max * rng.uniform(-1, 1, (200, len(x)))
    assert (drawn @ q - drawn.min(axis=1)).max() <= claimed + 1e-9


def test_sparsemax_loses_more_where_the_rule_stops_early() -> None:
    x = np.array([[1.0, 0.0, 1.0, 1.0]])
    best, other = (
        worst_window_loss(weights, x, 1.0)[0]
        for weights in (hedged_minimum(x, 1.0), full_level(x, 1.0))
    )
    assert best == pytest.approx(1.0)
    assert other == pytest.approx(1.125)
    near = x * 0.1
    assert hedged_minimum(near, 1.0) == pytest.approx(full_level(near, 1.0))


def test_values_of_the_game() -> None:
    for K in (1, 2, 9):
        flat = np.zeros((1, K + 1))
        loss = worst_window_loss(hedged_minimum(flat, 0.5), flat, 0.5)[0]
        assert loss == pytest.approx(window_game_value(0.5, K))
        sure = np.eye(K + 1)[[0]]
        assert worst_window_loss(sure, flat, 0.5)[0] == window_game_value(0.5, K, randomised=False)
    # One step: what A3 would buy is nothing, as T7's value is eps_max too.
    assert window_game_value(0.5, 1) == 0.5


def test_without_noise_it_is_the_window_minimum() -> None:
    x = np.array([[2.0, 1.0, 1.0, 3.0], [0.0, 1.0, 2.0, 3.0]])
    chosen = HedgedMinimum(0.0).choose(x, np.random.default_rng(0))
    assert chosen.tolist() == WindowMinimum().choose(x).tolist() == [2, 0]


def test_the_rule_draws_from_its_weights() -> None:
    x, n = np.array([3.0, 0.2, 0.5, 0.0]), 40_000
    chosen = HedgedMinimum(0.4, 2).choose(np.tile(x, (n, 1)), np.random.default_rng(1))
    weights = np.append(0.0, hedged_minimum(x[None, 1:], 0.4)[0])
    found = np.bincount(chosen, minlength=4) / n
    # Five standard errors: a false alarm once in a million.
    assert (np.abs(found - weights) <= 5 * np.sqrt(weights * (1 - weights) / n)).all()
    rule = HedgedMinimum(0.25, 4)
    assert parse_rule(rule.spec()) == rule
    assert rule.projections(np.zeros((2, 9))).tolist() == [4, 4]


def test_bad_input() -> None:
    with pytest.raises(UserError, match="eps_max"):
        hedged_minimum([[1.0, 2.0]], -0.1)
    with pytest.raises(UserError, match="one layer"):
        hedged_minimum([[1.0]], 0.1)
    with pytest.raises(UserError, match="probabilities"):
        worst_window_loss([[0.5, 0.4]], [[1.0, 2.0]], 0.1)
    with pytest.raises(UserError, match="K >= 1"):
        window_game_value(0.1, 0)
    with pytest.raises(UserError, match="rng"):
        HedgedMinimum(0.1).choose(np.zeros((1, 3)))
    with pytest.raises(UserError, match="eps_max must be"):
        HedgedMinimum(np.nan)
