"""The guarded search and the hedged search: their theorems on random and adversarial worlds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stopping.errors import UserError
from stopping.rules.scan import scan_depth
from stopping.theory.certificates import expected_certificate, minimax_layer
from stopping.theory.guarded import (
    guarded_search,
    hedge_probability,
    hedged_search,
    hedged_search_bound,
)
from stopping.types import FloatArray, IntArray

EPS = 1.0


def worlds(
    rng: np.random.Generator, n: int, layers: int, drift: float = 1.0
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return `G`, `V*`, `x` with noise that often rises slowly towards `L`, which lures the scan.

    Drifts are scaled by `drift`; rises exceed `2 EPS` by every order of magnitude.
    """
    turning = rng.integers(0, layers, n)
    size = 10.0 ** rng.uniform(-4, 0, (n, 1)) * rng.exponential(size=(n, layers))
    falls = np.where(np.arange(layers) <= turning[:, None], -drift * size, 2 * EPS + size + 1e-9)
    G = np.cumsum(falls, axis=1)
    luring = np.sort(rng.uniform(-1, 1, (n, layers)), axis=1)
    extreme = rng.choice([-1.0, 1.0], (n, layers))
    any_noise = rng.uniform(-1, 1, (n, layers))
    kind = rng.integers(0, 3, (n, 1))
    noise = np.where(kind == 0, luring, np.where(kind == 1, extreme, any_noise))
    return G, turning, G + EPS * (1 - 1e-9) * noise


def excess_at(G: FloatArray, layer: IntArray, turning: IntArray) -> FloatArray:
    rows = np.arange(len(G))
    loss: FloatArray = G[rows, layer] - G[rows, turning]
    return loss


def expected_excess(G: FloatArray, weights: FloatArray, turning: IntArray) -> FloatArray:
    loss: FloatArray = (weights * G).sum(axis=1) - G[np.arange(len(G)), turning]
    return loss


def search(x: FloatArray) -> IntArray:
    depth: IntArray = scan_depth(x, x.shape[1] - 1)
    layer: IntArray = x.shape[1] - 1 - depth
    return layer


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-8, 8).map(float), min_size=2, max_size=9))
def test_no_guard_is_the_papers_search(values: list[float]) -> None:
    x = np.array([values])
    assert guarded_search(x, 0.0)[0] == search(x)[0]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(-16, 16).map(lambda k: k / 8), min_size=2, max_size=7),
    st.integers(0, 16).map(lambda k: k / 8),
)
def test_it_is_the_minimax_layer_of_every_explained_token(values: list[float], eps: float) -> None:
    """Two independent algorithms: intervals over all pairs (T9), and a scan with a reference."""
    x = np.array([values])
    if not np.isnan(expected_certificate(np.eye(len(values))[[-1]], x, eps)[0]):
        assert guarded_search(x, eps)[0] == minimax_layer(x, eps)[0]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-16, 16).map(lambda k: k / 8), min_size=2, max_size=9),
    st.integers(0, 8).map(lambda k: k / 8),
)
def test_scan_stops_exactly_where_its_pairs_say(values: list[float], g: float) -> None:
    def admits(v: int) -> bool:
        return all(
            values[j] - values[i] > 2 * g * (j - i - 1)
            for i in range(v, len(values))
            for j in range(i + 1, len(values))
        )

    expected = min(v for v in range(len(values)) if admits(v))
    assert guarded_search([values], g)[0] == expected


@pytest.mark.parametrize("layers", [2, 3, 5, 10])
def test_containment_order_dominance_and_overshoot(layers: int) -> None:
    rng = np.random.default_rng(layers)
    G, turning, x = worlds(rng, 20_000, layers)
    rounding = 1e-12 * np.abs(G).max()
    previous, loss = search(x), excess_at(G, search(x), turning)
    for g in (0.1, 0.3, 0.5, 1.0):
        layer = guarded_search(x, g * EPS)
        assert (previous <= layer).all()
        assert (layer <= turning).all()
        assert (excess_at(G, layer, turning) <= loss + rounding).all()
        over = turning - layer
        assert (over < 1 + 1 / g).all()
        bound = 2 * EPS - 2 * g * EPS * (over - 1)
        assert (excess_at(G, layer, turning)[over >= 1] < bound[over >= 1]).all()
        previous, loss = layer, excess_at(G, layer, turning)
    assert (turning - previous <= 1).all()


def test_the_papers_search_has_no_such_overshoot_bound() -> None:
    """The negative control: without the guard the same check fails, down to l_min."""
    _, turning, x = worlds(np.random.default_rng(0), 20_000, 10, drift=0.0)
    assert (turning - search(x)).max() >= 8
    assert (turning - guarded_search(x, EPS)).max() == 1


def test_a_guard_above_the_noise_bound_breaks_containment() -> None:
    """Sharp: two rises just above 2 eps_max, and noise that takes 2 eps_max off their sum."""
    G = np.array([[0.0, 2.01, 4.02]]) * EPS
    x = G + EPS * np.array([[1.0, 0.0, -1.0]])
    assert guarded_search(x, EPS)[0] == 0
    assert guarded_search(x, 1.02 * EPS)[0] > 0


@pytest.mark.parametrize("layers", [2, 3, 5, 10])
def test_hedged_search_stays_below_eps_max_in_every_world(layers: int) -> None:
    rng = np.random.default_rng(10 + layers)
    G, turning, x = worlds(rng, 50_000, layers)
    loss = expected_excess(G, hedged_search(x, EPS), turning)
    u = guarded_search(x, EPS)
    rows = np.arange(len(x))
    rise = x[rows, np.minimum(u + 1, layers - 1)] - x[rows, u]
    rounding = 1e-12 * np.abs(G).max()
    assert (loss <= hedged_search_bound(rise, EPS) + rounding).all()
    assert loss.max() < EPS + rounding
    assert loss.max() > 0.9 * EPS  # bound x 0.9 is beaten


@pytest.mark.parametrize("wrong", [0.4, 0.6])
def test_wrong_hedges_lose_more_than_eps_max(wrong: float) -> None:
    """The check above rejects 2/5 and 3/5 in the place of the hedge's 1/2."""
    G, turning, x = worlds(np.random.default_rng(5), 50_000, 5)
    weights = hedged_search(x, EPS)
    u = guarded_search(x, EPS)
    rows = np.arange(len(x))
    hedging = (weights[rows, u] < 1.0) & (u < x.shape[1] - 1)
    broken = weights.copy()
    broken[rows[hedging], u[hedging]] += wrong - 0.5
    broken[rows[hedging], u[hedging] + 1] -= wrong - 0.5
    assert expected_excess(G, broken, turning).max() > 1.1 * EPS


def test_hedging_at_the_papers_layer_does_not_work() -> None:
    """For K >= 2 the hedge has to start from the guarded layer: the search's own is too deep."""
    # G falls all the way to V* = L, while the noise rises a little faster.
    G, turning = np.linspace(0.98, -0.98, 8)[None], np.array([7])
    x = np.linspace(-0.01, 0.01, 8)[None]
    assert (np.abs(x - G) <= EPS).all()
    u = int(search(x)[0])
    q = float(hedge_probability(x[0, u + 1] - x[0, u], EPS))
    naive = np.zeros((1, 8))
    naive[0, [u, u + 1]] = q, 1 - q
    assert expected_excess(G, naive, turning)[0] > 1.6 * EPS
    assert expected_excess(G, hedged_search(x, EPS), turning)[0] < EPS


def test_any_token_at_all_keeps_t4() -> None:
    rng = np.random.default_rng(8)
    G = np.cumsum(rng.normal(size=(20_000, 7)), axis=1)
    x = G + rng.uniform(-EPS, EPS, G.shape)
    rows = np.arange(len(G))
    assert (G[rows, guarded_search(x, EPS)] <= G[:, -1] + 2 * EPS).all()
    loss = (hedged_search(x, EPS) * G).sum(axis=1)
    assert (loss <= G[:, -1] + 2 * EPS + 1e-12).all()


def test_hedge_probability_by_hand() -> None:
    np.testing.assert_allclose(
        hedge_probability([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0], 1.0), [0.0, 0.0, 0.625, 0.75, 1.0, 1.0]
    )
    assert hedge_probability(1e-300, 0.0) == 1.0
    np.testing.assert_allclose(hedged_search_bound([-1.0, 1.0, 2.0, 9.0], 1.0), [0, 0.75, 0, 0])


def test_final_layer_without_a_rise() -> None:
    assert hedged_search([[2.0, 1.0, 1.0]], 0.5).tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize("function", [guarded_search, hedged_search])
@pytest.mark.parametrize(
    ("x", "level"),
    [
        ([[0.0, np.nan]], 0.1),
        ([[0.0]], 0.1),
        ([0.0, 1.0], 0.1),
        ([[0.0, 1.0]], -0.1),
        ([[0.0, 1.0]], [0.1, 0.2]),
    ],
)
def test_bad_input_is_the_users_error(function: object, x: object, level: object) -> None:
    assert callable(function)
    with pytest.raises(UserError):
        function(x, level)


@pytest.mark.parametrize(("rise", "eps_max"), [(np.nan, 1.0), (1.0, -1.0), (1.0, np.inf)])
def test_bad_hedges_are_the_users_error(rise: float, eps_max: float) -> None:
    with pytest.raises(UserError):
        hedge_probability(rise, eps_max)
