"""What each bound says of the layers where the search stopped, in numbers that can be averaged."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stopping.model.noise import per_layer
from stopping.model.paths import Paths, at
from stopping.model.scenarios import Bound, Scenario
from stopping.theory.bounds import (
    excess_tail_bound,
    expected_excess_bound,
    expected_overshoot_bound,
    run_bound,
    stop_above_bound,
)
from stopping.types import FloatArray, IntArray

# The sums that make up an excess round; a theorem is not refuted by that.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Stops:
    """A sample of one world with the layers where the search stopped."""

    paths: Paths
    layer: IntArray
    scenario: Scenario

    @property
    def steps(self) -> FloatArray:
        """`V* - V^`, negative where the scan stopped above `V*`."""
        return (self.paths.turning - self.layer).astype(np.float64)

    @property
    def excess(self) -> FloatArray:
        """`excess(V^)`, nats."""
        return self.paths.excess(self.layer)

    @property
    def above_final(self) -> FloatArray:
        """`G[V^] - G[L]`, nats."""
        last = np.full(self.paths.n, self.paths.layers - 1)
        return at(self.paths.G, self.layer) - at(self.paths.G, last)

    @property
    def contained(self) -> FloatArray:
        """`excess(V^)` where `V^ <= V*`, else 0."""
        return np.where(self.steps >= 0, self.excess, 0.0)


@dataclass(frozen=True)
class Measure:
    """What a bound says: `value` of each draw, its `limit`, and the `size` of an overshoot."""

    quantity: str
    value: Callable[[Stops], FloatArray]
    limit: Callable[[Scenario], float]
    sure: bool = False
    size: Callable[[Stops], FloatArray] | None = None


def cliff_height(scenario: Scenario) -> float:
    """Return `t` just below the cost of the first step back from `V*`."""
    falls = per_layer(scenario.process.drift, scenario.process.layers, "drift")
    return 0.999 * float(falls[scenario.turning])


def _rises(scenario: Scenario) -> FloatArray:
    return per_layer(scenario.process.rise, scenario.process.layers, "rise")[scenario.turning + 1 :]


def _exceeds(
    quantity: Callable[[Stops], FloatArray], limit: Callable[[Scenario], float]
) -> Callable[[Stops], FloatArray]:
    return lambda stops: (quantity(stops) > limit(stops.scenario) + ROUNDING).astype(np.float64)


def _sure(
    name: str, quantity: Callable[[Stops], FloatArray], limit: Callable[[Scenario], float]
) -> Measure:
    return Measure(name, _exceeds(quantity, limit), lambda _: 0.0, sure=True, size=quantity)


def _run(j: int) -> Measure:
    return Measure(
        f"P(V* - V^ >= {j})",
        lambda stops: (stops.steps >= j).astype(np.float64),
        lambda _: float(run_bound(j)),
    )


MEASURES: dict[Bound, Measure] = {
    Bound.CONTAINMENT: _sure("P(V^ > V*)", lambda stops: 0.0 - stops.steps, lambda _: 0.0),
    Bound.EXCESS: _sure(
        "P(excess > 2 eps_max)", lambda stops: stops.excess, lambda given: 2.0 * given.eps_max
    ),
    Bound.EXCESS_RANGE: _sure(
        "P(excess > 2 eps_max + step)",
        lambda stops: stops.excess,
        lambda given: 2.0 * given.eps_max + given.step,
    ),
    Bound.FINAL_LAYER: _sure(
        "P(G[V^] > G[L] + 2 eps_max)",
        lambda stops: stops.above_final,
        lambda given: 2.0 * given.eps_max,
    ),
    Bound.STOP_ABOVE: Measure(
        "P(V^ > V*)",
        lambda stops: (stops.steps < 0).astype(np.float64),
        lambda given: stop_above_bound(_rises(given), given.sigma),
    ),
    Bound.TAIL: Measure(
        "P(excess > t, V^ <= V*)",
        lambda stops: (stops.contained > cliff_height(stops.scenario)).astype(np.float64),
        lambda given: float(excess_tail_bound(cliff_height(given), given.sigma)),
    ),
    Bound.MEAN: Measure(
        "E[excess; V^ <= V*]",
        lambda stops: stops.contained,
        lambda given: float(expected_excess_bound(given.sigma)),
    ),
    Bound.RUN_1: _run(1),
    Bound.RUN_2: _run(2),
    Bound.RUN_3: _run(3),
    Bound.OVERSHOOT: Measure(
        "E[(V* - V^)+]",
        lambda stops: np.maximum(stops.steps, 0.0),
        lambda _: expected_overshoot_bound(),
    ),
}
