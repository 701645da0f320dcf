"""T8: the closed form against linear programs, and against worlds of the model."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stopping.errors import UserError
from stopping.theory.certificates import (
    certify,
    expected_certificate,
    hedged_weights,
    minimax_layer,
)
from stopping.theory.identification import identify
from stopping.theory.linear_programs import worst_excess
from stopping.types import FloatArray, IntArray

pytestmark = pytest.mark.numerical

# Eighths: sums, differences and halves are exact, ties and plateaus are common.
grid = st.integers(-16, 16).map(lambda k: k / 8)
windows = st.lists(grid, min_size=2, max_size=7)
# HiGHS meets constraints and optimality to 1e-7 each, in units of eps_max.
SOLVER = 1e-6


def explained_token(rng: np.random.Generator, layers: int, eps: float) -> FloatArray:
    """One observation of a random world; drift and rises of every size, noise at its bounds."""
    v = rng.integers(0, layers)
    size = eps * 10.0 ** rng.uniform(-3, 0.7, layers)
    steps = np.where(np.arange(layers) <= v, -size, 2 * eps + size)
    noise = eps * (1 - 1e-9) * np.clip(1.5 * rng.uniform(-1, 1, layers), -1, 1)
    return np.cumsum(steps) + noise


def worlds(
    rng: np.random.Generator, n: int, layers: int, eps: float
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return `G`, `V*` and `x` of random admissible worlds."""
    turning = rng.integers(0, layers, n)
    size = eps * 10.0 ** rng.uniform(-3, 0.5, (n, 1)) * rng.exponential(size=(n, layers))
    steps = np.where(np.arange(layers) <= turning[:, None], -size, 2 * eps + size + 1e-9)
    G = np.cumsum(steps, axis=1)
    return G, turning, G + eps * (1 - 1e-9) * rng.choice([-1, -0.3, 0.6, 1], (n, layers))


def certificate_with(factor: float, x: FloatArray, eps: float) -> FloatArray:
    """Write T8 out for one token, `factor` in the place of the 2 of `2 eps_max`, min by min."""
    layers = len(x)
    rows = []
    for v in np.flatnonzero(identify(x[None]).consistent(eps)[0]):
        row = np.zeros(layers)
        for place in range(layers):
            if place < v:
                row[place] = min(x[: place + 1]) - x[v] + factor * eps
            elif place > v:
                ahead = [x[m] - 2 * eps * (m - place) for m in range(place, layers)]
                row[place] = min(ahead) - x[v] + factor * eps
        rows.append(row)
    worst: FloatArray = np.max(rows, axis=0)
    return worst


def vectorised(x: FloatArray, eps: float) -> FloatArray:
    row: FloatArray = certify(x[None], eps).excess[0]
    return row


def forgets_later_layers(x: FloatArray, eps: float) -> FloatArray:
    """Keep only `m = l` of the minimum over `m >= l`: a bound, but not the supremum."""
    found = certify(x[None], eps)
    v = int(found.first[0])
    loose: FloatArray = found.excess[0].copy()
    loose[v + 1 :] = x[v + 1 :] - x[v] + 2 * eps
    at_least: FloatArray = np.maximum(loose, found.excess[0])
    return at_least


def largest_error(
    certificate: Callable[[FloatArray, float], FloatArray], tokens: int, seed: int
) -> float:
    """Largest difference from the linear programs over random tokens, in units of eps_max."""
    rng = np.random.default_rng(seed)
    worst = 0.0
    for _ in range(tokens):
        layers, eps = int(rng.integers(2, 8)), float(rng.uniform(0.05, 2))
        x = explained_token(rng, layers, eps)
        by_lp = [worst_excess(unit, x, eps) for unit in np.eye(layers)]
        worst = max(worst, float(np.abs(certificate(x, eps) - by_lp).max()) / eps)
    return worst


@pytest.mark.slow
def test_closed_form_equals_linear_programming() -> None:
    assert largest_error(vectorised, tokens=120, seed=0) < SOLVER


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken",
    [
        partial(certificate_with, 1.8),
        partial(certificate_with, 2.2),
        forgets_later_layers,
    ],
)
def test_broken_certificates_are_rejected(
    broken: Callable[[FloatArray, float], FloatArray],
) -> None:
    assert largest_error(partial(certificate_with, 2.0), tokens=20, seed=1) < SOLVER
    assert largest_error(broken, tokens=20, seed=1) > 0.1


@settings(max_examples=60, deadline=None)
@given(windows, st.integers(0, 16).map(lambda k: k / 8))
def test_ties_and_plateaus_equal_linear_programming(values: list[float], eps: float) -> None:
    x = np.array(values)
    found = certify(x[None], eps)
    if not found.explained[0]:
        assert np.isnan(found.excess).all()
        assert found.first[0] == found.last[0] == -1
        return
    by_lp = np.array([worst_excess(unit, x, eps) for unit in np.eye(len(x))])
    np.testing.assert_allclose(found.excess[0], by_lp, atol=SOLVER * max(eps, 1.0))


@settings(max_examples=200, deadline=None)
@given(st.lists(windows, min_size=1, max_size=4), st.integers(0, 16).map(lambda k: k / 8))
def test_batch_equals_the_formula_token_by_token(rows: list[list[float]], eps: float) -> None:
    layers = min(map(len, rows))
    x = np.array([row[:layers] for row in rows])
    found = certify(x, eps)
    for i in np.flatnonzero(found.explained):
        np.testing.assert_array_equal(found.excess[i], certificate_with(2.0, x[i], eps))


def test_certificate_bounds_the_excess_of_every_admissible_world() -> None:
    rng = np.random.default_rng(2)
    for layers in (2, 3, 6, 11):
        eps = 0.4
        G, turning, x = worlds(rng, 5000, layers, eps)
        found = certify(x, eps)
        assert found.explained.all()
        excess = G - np.take_along_axis(G, turning[:, None], axis=1)
        rounding = 1e-12 * np.abs(G).max()
        assert (excess <= found.excess + rounding).all()
        assert (excess > 0.9 * found.excess + rounding).any()  # bound x 0.9 is beaten
        assert ((found.first == turning) | (found.last == turning)).all()
        assert (found.last - found.first <= 1).all()


@settings(max_examples=200, deadline=None)
@given(windows, st.integers(1, 16).map(lambda k: k / 8))
def test_minimax_layer_has_the_least_certificate(values: list[float], eps: float) -> None:
    x = np.array([values])
    found, layer = certify(x, eps), int(minimax_layer(x, eps)[0])
    if not found.explained[0]:
        assert layer == len(values) - 1
        return
    assert layer == found.first[0]
    assert found.excess[0, layer] == found.excess[0].min()
    assert found.excess[0, layer] < 2 * eps


@settings(max_examples=200, deadline=None)
@given(windows, st.integers(1, 16).map(lambda k: k / 8))
def test_hedge_equalises_the_two_worlds(values: list[float], eps: float) -> None:
    x = np.array([values])
    hedge, found = hedged_weights(x, eps), certify(x, eps)
    assert hedge.weights.sum() == pytest.approx(1.0, abs=1e-15)
    if not found.explained[0]:
        assert hedge.weights[0, -1] == 1.0
        assert np.isnan(hedge.value[0])
        return
    assert expected_certificate(hedge.weights, x, eps)[0] == pytest.approx(hedge.value[0])
    d = x[0, found.last[0]] - x[0, found.first[0]]
    # T7: the value at x, and the strict inequality that keeps the supremum unattained.
    assert hedge.value[0] <= max(eps - d**2 / (4 * eps), 0.0) + 1e-12
    # No shift of weight between the two turning points, nor to another layer, does better.
    for layer in range(len(values)):
        moved = 0.9 * hedge.weights + 0.1 * np.eye(len(values))[layer]
        moved /= moved.sum()
        assert expected_certificate(moved, x, eps)[0] >= hedge.value[0] - 1e-12


def test_expected_certificate_equals_linear_programming() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        layers, eps = int(rng.integers(2, 7)), float(rng.uniform(0.1, 1))
        x, q = explained_token(rng, layers, eps), rng.dirichlet(np.full(layers, 0.5))
        by_form = expected_certificate(q[None], x[None], eps)[0]
        assert by_form == pytest.approx(worst_excess(q, x, eps), abs=SOLVER * eps)


def test_unexplained_tokens_get_no_number() -> None:
    x = np.array([[0.0, 1.0, 0.5], [2.0, 1.0, 0.5]])
    found = certify(x, 0.1)
    assert found.explained.tolist() == [False, True]
    assert np.isnan(found.excess[0]).all()
    assert np.isfinite(found.excess[1]).all()
    assert minimax_layer(x, 0.1).tolist() == [2, 2]
    assert np.isnan(expected_certificate(np.eye(3)[[2, 2]], x, 0.1)).tolist() == [True, False]
    with pytest.raises(UserError, match="no admissible world"):
        worst_excess(np.eye(3)[2], x[0], 0.1)


def test_noise_level_per_token_and_noiseless() -> None:
    x = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert minimax_layer(x, [0.0, 0.4, 0.6]).tolist() == [0, 0, 0]
    np.testing.assert_allclose(
        certify(x, [0.0, 0.4, 0.5]).excess, np.array([[0, 1], [0, 1.8], [0, 2]]), rtol=1e-15
    )
    np.testing.assert_allclose(hedged_weights(x, [0.0, 0.4, 1.0]).weights[:, 0], [1.0, 1.0, 0.75])


def test_empty_batch() -> None:
    assert certify(np.empty((0, 3)), 0.5).excess.shape == (0, 3)
    assert hedged_weights(np.empty((0, 3)), 0.5).weights.shape == (0, 3)


@pytest.mark.parametrize("function", [certify, minimax_layer, hedged_weights])
@pytest.mark.parametrize(
    ("x", "eps_max"),
    [
        ([[0.0, np.nan]], 0.1),
        ([[0.0]], 0.1),
        ([0.0, 1.0], 0.1),
        ([[0.0, 1.0]], -0.1),
        ([[0.0, 1.0]], np.inf),
        ([[0.0, 1.0]], [0.1, 0.2]),
    ],
)
def test_bad_input_is_the_users_error(
    function: Callable[[object, object], object], x: object, eps_max: object
) -> None:
    with pytest.raises(UserError):
        function(x, eps_max)


@pytest.mark.parametrize(
    "weights", [[[0.5, 0.6]], [[0.5, 0.51]], [[1.5, -0.5]], [[1.0]], [[np.nan, 1.0]]]
)
def test_bad_weights_are_the_users_error(weights: list[list[float]]) -> None:
    with pytest.raises(UserError, match="weights"):
        expected_certificate(weights, [[0.0, 1.0]], 0.5)
