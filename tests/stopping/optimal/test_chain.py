"""S1: induction against enumeration of every stopping rule, and against known answers."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopping.errors import UserError
from stopping.optimal.chain import Chain, evaluate, simulate, solve, with_recall
from stopping.optimal.classics import moser, moser_value, secretary, secretary_success
from stopping.types import FloatArray
from tests.stopping.optimal.puts import Put, binomial_put, european_put, perpetual_put


@st.composite
def chains(draw: st.DrawFn, states: int = 2, horizon: int = 2) -> Chain:
    """Small chains with losses that repeat, a forbidden state now and then, and a cost."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    kernels = tuple(rng.dirichlet(np.ones(states), states) for _ in range(horizon))
    losses = [rng.integers(-3, 4, states).astype(np.float64) for _ in range(horizon + 1)]
    if draw(st.booleans()):
        losses[rng.integers(horizon)][0] = np.inf
    cost = draw(st.sampled_from((0.0, 0.1, 1.0)))
    return Chain(rng.dirichlet(np.ones(states)), kernels, tuple(losses), cost)


def enumerated(chain: Chain, recall: bool) -> float:
    """Least expected loss over *all* stopping rules: one decision for each history, all tried."""
    states, horizon = len(chain.initial), chain.horizon
    histories = [h for t in range(horizon) for h in itertools.product(range(states), repeat=t + 1)]

    def worth(history: tuple[int, ...]) -> float:
        seen = [float(chain.losses[t][state]) for t, state in enumerate(history)]
        return min(seen) if recall else seen[-1]

    def follow(history: tuple[int, ...], stops: dict[tuple[int, ...], bool]) -> float:
        t = len(history) - 1
        if t == horizon or stops[history]:
            return worth(history)
        ahead = sum(
            float(np.asarray(chain.kernels[t])[history[-1], s]) * follow((*history, s), stops)
            for s in range(states)
        )
        return chain.cost + ahead

    best = math.inf
    for decisions in itertools.product((False, True), repeat=len(histories)):
        stops = dict(zip(histories, decisions, strict=True))
        value = sum(float(p) * follow((s,), stops) for s, p in enumerate(chain.initial) if p > 0)
        best = min(best, value)
    return best


@given(chains())
def test_induction_is_the_best_of_all_rules(chain: Chain) -> None:
    assert solve(chain).value == pytest.approx(enumerated(chain, recall=False), abs=1e-12)
    recalled = solve(with_recall(chain)).value
    assert recalled == pytest.approx(enumerated(chain, recall=True), abs=1e-12)
    assert recalled <= solve(chain).value + 1e-12


@given(chains(states=4, horizon=5))
def test_the_value_is_the_largest_submartingale_below_the_loss(chain: Chain) -> None:
    found = solve(chain)
    assert _below_and_sub(chain, found.values)
    # Any other process with both properties lies below: start lower at random, keep them.
    rng = np.random.default_rng(0)
    other = [chain.losses[-1] - rng.exponential(size=len(chain.losses[-1]))]
    for kernel, loss in zip(chain.kernels[::-1], chain.losses[-2::-1], strict=True):
        ahead = chain.cost + np.asarray(kernel) @ other[-1]
        other.append(np.minimum(loss, ahead) - rng.exponential(size=len(loss)))
    other.reverse()
    assert _below_and_sub(chain, tuple(other))
    assert all((o <= v + 1e-12).all() for o, v in zip(other, found.values, strict=True))
    # The negative control: a little larger at one time, and one of the properties is gone.
    raised = tuple(v + (1e-6 if t == 2 else 0.0) for t, v in enumerate(found.values))
    assert not _below_and_sub(chain, raised)


def _below_and_sub(chain: Chain, values: tuple[FloatArray, ...]) -> bool:
    below = all((v <= loss + 1e-12).all() for v, loss in zip(values, chain.losses, strict=True))
    sub = all(
        (v <= chain.cost + np.asarray(kernel) @ after + 1e-12).all()
        for v, kernel, after in zip(values, chain.kernels, values[1:], strict=False)
    )
    return below and sub


@given(chains(states=3, horizon=4), st.integers(0, 2**32 - 1))
def test_no_region_beats_the_optimal_one(chain: Chain, seed: int) -> None:
    found, rng = solve(chain), np.random.default_rng(seed)
    assert evaluate(chain, found.stops) == pytest.approx(found.value, abs=1e-12)
    other = tuple((rng.random(len(x)) < 0.5) & np.isfinite(x) for x in chain.losses)
    assert evaluate(chain, other) >= found.value - 1e-12


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 10, 50, 100, 1000])
def test_secretary(n: int) -> None:
    """Threshold and probability of success against the classical formula, at its best `r`."""
    found = solve(secretary(n))
    success = [secretary_success(n, r) for r in range(1, n + 1)]
    assert 1 - found.value == pytest.approx(max(success), abs=1e-12)
    threshold = next(k for k in range(1, n + 1) if found.stops[k - 1][1])
    assert success[threshold - 1] == pytest.approx(max(success), abs=1e-12)
    assert all(found.stops[k - 1][1] for k in range(threshold, n + 1))
    assert not any(stops[0] for stops in found.stops[:-1])


def test_secretary_published_values() -> None:
    """Gilbert and Mosteller (1966), table 2: n, r, probability; and the limit 1/e."""
    for n, r, success in ((5, 3, 0.43333), (10, 4, 0.39869), (100, 38, 0.37104)):
        assert secretary_success(n, r) == pytest.approx(success, abs=5e-6)
        assert 1 - solve(secretary(n)).value == pytest.approx(success, abs=5e-6)
    assert 1 - solve(secretary(1000)).value == pytest.approx(1 / math.e, abs=5e-4)


def test_simulated_secretary_meets_its_value_and_a_wrong_threshold_does_not() -> None:
    chain = secretary(20)
    found, n = solve(chain), 40_000
    losses = simulate(chain, found.stops, np.random.default_rng(1), n)
    assert abs(losses.mean() - found.value) < 4 * losses.std() / math.sqrt(n)
    early = tuple(np.array([False, k >= 3]) for k in range(1, 21))
    hasty = simulate(chain, early, np.random.default_rng(1), n)
    assert hasty.mean() - 4 * hasty.std() / math.sqrt(n) > found.value
    assert evaluate(chain, early) == pytest.approx(1 - secretary_success(20, 3), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_moser(n: int) -> None:
    """On a lattice of offers the value is that of the continuous problem, but for O(points^-2)."""
    errors = [abs(solve(moser(n, points)).value - moser_value(n)) for points in (50, 100)]
    assert all(error <= n / points**2 for error, points in zip(errors, (50, 100), strict=True))
    assert moser_value(2) == pytest.approx(3 / 8)


def test_recall_reaches_the_reservation_value() -> None:
    """Weitzman (1979): with recall one reads on while the best exceeds `z`, `E(z - X)+ = cost`."""
    points, horizon, cost = 40, 5, 0.08
    offers = (np.arange(points) + 0.5) / points
    law = np.full(points, 1 / points)
    chain = Chain(law, (np.tile(law, (points, 1)),) * horizon, (offers,) * (horizon + 1), cost)
    recalled = with_recall(chain)
    found = solve(recalled)
    z = math.sqrt(2 * cost)  # uniform: z^2 / 2 = cost
    for t in range(horizon):
        best = recalled.losses[t]
        inside = np.abs(best - z) > 1 / points
        assert (found.stops[t][inside] == (best[inside] < z)).all()


@pytest.mark.slow
def test_american_puts_of_a_tree() -> None:
    """No early exercise without interest; the perpetual put; more dates are worth more."""
    put = Put(36.0)
    free = Put(36.0, rate=0.0)
    tree = -solve(binomial_put(free, 400)).value
    assert tree == pytest.approx(float(european_put(free, np.array([36.0]), 1.0)[0]), abs=3e-3)
    long = -solve(binomial_put(Put(36.0, years=100.0), 3000)).value
    assert long == pytest.approx(perpetual_put(put), abs=0.01)
    assert perpetual_put(Put(20.0)) == 20.0
    few, many = (-solve(binomial_put(put, dates, 400 // dates)).value for dates in (10, 50))
    assert few < many < -solve(binomial_put(put, 400)).value


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda: Chain(np.array([0.5, 0.6]), (), (np.zeros(2),)), "sum to 1"),
        (lambda: Chain(np.ones(1), (np.ones((1, 1)),), (np.zeros(1),)), "arrays of losses"),
        (lambda: Chain(np.ones(1), (), (np.array([np.inf]),)), "horizon"),
        (lambda: Chain(np.ones(1), (), (np.array([np.nan]),)), "NaN"),
        (lambda: Chain(np.ones(1), (), (np.zeros(1),), -1.0), "cost"),
        (lambda: Chain(np.ones(1), (np.ones((2, 1)) / 1,), (np.zeros(1), np.zeros(1))), "rows"),
        (lambda: secretary(0), "candidate"),
        (lambda: secretary_success(5, 6), "r must"),
        (lambda: Put(-1.0), "put"),
        (lambda: binomial_put(Put(36.0, rate=2.0, volatility=0.1), 1), "too coarse"),
        (lambda: binomial_put(Put(36.0), 0), "dates"),
    ],
)
def test_bad_input(broken: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        broken()  # type: ignore[operator]


def test_a_region_that_stops_where_it_must_not() -> None:
    chain = Chain(np.ones(1), (np.ones((1, 1)),), (np.array([np.inf]), np.zeros(1)))
    with pytest.raises(UserError, match="not allow"):
        evaluate(chain, (np.array([True]), np.array([True])))
