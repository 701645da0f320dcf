"""Every deterministic bound over generated worlds, and that a bound 10 % too small is caught."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from stopping.errors import UserError
from stopping.model.noise import worst_noise
from stopping.model.paths import Paths, at
from stopping.rules import Search, Shifted, Tolerance
from stopping.testing import EPS_MAX, World, worlds
from stopping.theory import bounds

pytestmark = pytest.mark.numerical

ROUNDING = 1e-9


def stop(world: World) -> np.ndarray:
    return Tolerance(world.tau, world.paths.K).choose(world.paths.x)


def excess(world: World) -> float:
    return float(world.paths.excess(stop(world))[0])


def steps(world: World) -> int:
    return int((world.paths.turning - stop(world))[0])


def realised(world: World, shift: int = 0) -> float:
    """`eps[V*] - eps[V^]`, with the rule off by `shift` layers."""
    paths = world.paths
    layer = Shifted(shift, paths.K).choose(paths.x)
    return float((at(paths.noise, paths.turning) - at(paths.noise, layer))[0])


@given(worlds())
def test_T1_the_search_never_stops_above_the_turning_point(world: World) -> None:
    assert steps(world) >= 0


@given(worlds())
def test_T2_excess(world: World) -> None:
    assert excess(world) <= realised(world) + ROUNDING
    assert realised(world) <= bounds.excess_bound(EPS_MAX)
    if steps(world) > 0:
        assert excess(world) < bounds.excess_bound(EPS_MAX)


@given(worlds())
def test_T3_overshoot(world: World) -> None:
    falls = -np.diff(world.paths.G[0])[: world.paths.turning[0]]
    if len(falls) and falls.min() > 0:
        assert steps(world) < bounds.overshoot_bound(EPS_MAX, falls.min())


@given(st.floats(0.01, 5.0), st.integers(1, 9))
def test_T3_is_sharp(eps_max: float, overshoot: int) -> None:
    """A drift just below `2 eps_max / n` can be overshot by `n` layers."""
    gamma = 2 * eps_max / overshoot * (1 - 1e-6)
    paths, _ = bounds.lower_containment_counterexample(eps_max, gamma, steps=overshoot - 1)
    assert paths.turning[0] - Search(paths.K).choose(paths.x)[0] == overshoot
    assert overshoot < bounds.overshoot_bound(eps_max, gamma) < overshoot * (1 + 1e-5)


@given(worlds(dominance=0.1))
def test_T4_final_layer_without_dominance(world: World) -> None:
    paths = world.paths
    loss = float(at(paths.G, stop(world))[0] - paths.G[0, -1])
    assert loss <= bounds.final_layer_bound(EPS_MAX) + ROUNDING


@pytest.mark.parametrize("tau", [0.1, 0.5, 1.5])
def test_T5_tolerance(tau: float) -> None:
    @given(worlds(tau=tau))
    def check(world: World) -> None:
        j = steps(world)
        assert j >= 0
        if j:
            assert excess(world) <= bounds.tolerance_bound(EPS_MAX, tau, j) + ROUNDING

    check()


@given(worlds(tau=2.0 + 1e-9))
def test_T5_a_large_tolerance_never_overshoots(world: World) -> None:
    assert steps(world) <= 0


def violated(strategy: st.SearchStrategy[World], condition: Callable[[World], Any]) -> bool:
    """Whether Hypothesis finds a world that meets `condition`."""
    effort = settings(max_examples=20_000, derandomize=True, phases=[Phase.generate])
    find(strategy, condition, settings=effort)
    return True


@pytest.mark.slow
def test_mutants_are_caught() -> None:
    """Each deliberate error is refuted by the very worlds that the theorems survive."""
    slack = 0.9
    assert violated(worlds(dominance=1.8), lambda w: steps(w) < 0)
    assert violated(worlds(), lambda w: excess(w) > slack * bounds.excess_bound(EPS_MAX))
    assert violated(
        worlds(),
        lambda w: (
            float(w.paths.excess(Shifted(-1, w.paths.K).choose(w.paths.x))[0])
            > realised(w, -1) + ROUNDING
        ),
    )
    assert violated(
        worlds(dominance=0.1),
        lambda w: (
            at(w.paths.G, stop(w))[0] - w.paths.G[0, -1] > slack * bounds.final_layer_bound(EPS_MAX)
        ),
    )
    assert violated(
        worlds(tau=0.5),
        lambda w: (
            steps(w) > 0
            and excess(w) > slack * float(bounds.tolerance_bound(EPS_MAX, 0.5, steps(w))) + ROUNDING
        ),
    )
    assert violated(worlds(tau=1.8), lambda w: steps(w) > 0)


@given(st.floats(0.01, 5.0), st.floats(1e-6, 1.0))
def test_T1_is_sharp(eps_max: float, share: float) -> None:
    """Any rise up to `2 eps_max` can be hidden; the counterexample stops above `V*`."""
    delta = 2 * eps_max * share
    paths = bounds.containment_counterexample(delta, eps_max)
    assert np.abs(paths.noise).max() <= eps_max
    assert Search().choose(paths.x)[0] > paths.turning[0]
    assert bounds.containment_margin([delta], eps_max) <= 0


def test_containment_margin() -> None:
    assert bounds.containment_margin([0.5, 0.3], 0.1) == pytest.approx(0.1)
    assert bounds.containment_margin([0.5, 0.3], 0.1, tau=0.2) == pytest.approx(-0.1)
    assert bounds.containment_margin([], 0.1) == math.inf


def test_T3_counterexample_obeys_the_assumptions_and_breaks_the_papers_claim() -> None:
    paths, onset = bounds.lower_containment_counterexample()
    falls = -np.diff(paths.G[0])
    assert (falls >= 0.05 - 1e-12).all()
    assert np.abs(paths.noise).max() <= 0.25
    assert paths.turning[0] == paths.layers - 1
    assert Search(paths.K).choose(paths.x)[0] < onset
    # T3 itself survives it
    overshoot = paths.turning[0] - Search(paths.K).choose(paths.x)[0]
    assert overshoot < bounds.overshoot_bound(0.25, 0.05)
    with pytest.raises(UserError, match="T3 forbids"):
        bounds.lower_containment_counterexample(eps_max=0.1, gamma=0.05, steps=4)


def test_T10_and_T11_values() -> None:
    assert bounds.stop_above_bound([2.0, 4.0], 1.0) == pytest.approx(math.exp(-1) + math.exp(-4))
    assert bounds.stop_above_bound([0.1, 0.1], 1.0) == 1.0
    assert bounds.excess_tail_bound(2.0, 1.0) == pytest.approx(math.exp(-1))
    assert bounds.expected_excess_bound(2.0) == pytest.approx(2 * math.sqrt(math.pi))
    assert bounds.run_bound([0, 1, 2, 3]) == pytest.approx([1, 1 / 2, 1 / 6, 1 / 24])
    # the mean is the sum of the tail
    assert bounds.run_bound(np.arange(1, 20)).sum() == pytest.approx(
        bounds.expected_overshoot_bound()
    )


@given(st.floats(0.05, 5.0))
def test_T10_mean_is_the_integral_of_the_tail(sigma: float) -> None:
    t = np.linspace(0, 40 * sigma, 40_001)
    integral = np.trapezoid(bounds.excess_tail_bound(t, sigma), t)
    assert integral == pytest.approx(float(bounds.expected_excess_bound(sigma)), rel=1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda: bounds.excess_bound(-0.1),
        lambda: bounds.excess_bound(math.nan),
        lambda: bounds.overshoot_bound(0.1, 0.0),
        lambda: bounds.final_layer_bound(math.inf),
        lambda: bounds.tolerance_bound(0.1, 0.1, 0),
        lambda: bounds.tolerance_bound(0.1, -0.1, 1),
        lambda: bounds.stop_above_bound([0.0], 1.0),
        lambda: bounds.stop_above_bound([1.0], 0.0),
        lambda: bounds.excess_tail_bound(-1.0, 1.0),
        lambda: bounds.expected_excess_bound(-1.0),
        lambda: bounds.run_bound(1.5),
        lambda: bounds.run_bound(-1),
        lambda: bounds.containment_counterexample(0.3, 0.1),
        lambda: bounds.lower_containment_counterexample(onset=0),
    ],
)
def test_values_outside_the_domain_are_refused(call: object) -> None:
    with pytest.raises(UserError):
        call()  # type: ignore[operator]


@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(0.05, 2))
def test_T16_rounded_valley(seed: int, weak: int, eps_max: float) -> None:
    rng = np.random.default_rng(seed)
    steps = np.concatenate(
        [[0.0], -rng.exponential(1, 3), rng.uniform(0, 2, weak), 2.001 + rng.exponential(1, 2)]
    )
    G, turning = np.cumsum(steps * eps_max)[None], np.array([3])
    noise = worst_noise(G, turning, np.full(G.shape[1], eps_max), 0)
    paths = Paths.from_latent(G, noise, turning)
    excess = paths.excess(Search(paths.K).choose(paths.x))[0]
    assert excess <= bounds.rounded_valley_bound(eps_max, weak) * (1 + 1e-9)


def test_T16_is_attained_and_needs_every_weak_rise() -> None:
    for weak in (1, 2, 5):
        paths = bounds.rounded_valley_counterexample(0.25, weak)
        excess = paths.excess(Search(paths.K).choose(paths.x))[0]
        assert excess == pytest.approx(float(bounds.rounded_valley_bound(0.25, weak)))
        # Negative control: one weak rise not counted.
        if weak > 1:
            assert excess > bounds.rounded_valley_bound(0.25, weak - 1)
    assert bounds.rounded_valley_bound(0.25, 0) == bounds.excess_bound(0.25)
    with pytest.raises(UserError, match="weak"):
        bounds.rounded_valley_bound(0.25, 1.5)
    with pytest.raises(UserError, match="weak"):
        bounds.rounded_valley_counterexample(0.25, 0)
