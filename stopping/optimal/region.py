"""The stopping region of a policy for the layers, as tokens meet it.

A region in many dimensions is shown in the two that matter most: the belief `P(V* < l)` that the
present layer still lies in the perturbed phase, and the gain that one could plan for now without
reading on, `loss now - least loss ahead`. The rule stops where both are small.
"""

from dataclasses import dataclass

import numpy as np

from stopping.optimal.regression import Policy
from stopping.types import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class RegionSample:
    """Tokens that have made `projections` projections: what is known of them, and what the rule
    does.

    Attributes
    ----------
    projections : int
        Time `t`.
    reached : float
        Share of all tokens that get here.
    belief, gain : ndarray, shape (n,)
        `P(V* < l | read)`, and the expected gain of the best open-loop plan, nats.
    stops : bool ndarray, shape (n,)
    """

    projections: int
    reached: float
    belief: FloatArray
    gain: FloatArray
    stops: BoolArray


@dataclass(frozen=True)
class Step:
    """A summary of a region sample: quartiles on either side of the border, NaN where empty.

    Attributes
    ----------
    projections : int
        Time `t`.
    reached, stops : float
        Share of the tokens that get here, and of these the share that stops.
    belief_stop, belief_go, gain_stop, gain_go : tuple of float
    """

    projections: int
    reached: float
    stops: float
    belief_stop: tuple[float, float, float]
    belief_go: tuple[float, float, float]
    gain_stop: tuple[float, float, float]
    gain_go: tuple[float, float, float]


def region_samples(policy: Policy, x: FloatArray) -> tuple[RegionSample, ...]:
    """Follow whole histories `(n, T + 1)` until none runs on; one sample for each time."""
    running = np.arange(len(x))
    found = []
    for t, stage in enumerate(policy.stages):
        if not running.size:
            break
        view = policy.problem.look(x[running, : t + 1])
        stops = stage.stops(view)
        # Columns of `LayerProblem.look`: the gain of the best open-loop plan, .., the belief.
        belief, gain = view.features[:, 2], view.features[:, 0]
        found.append(RegionSample(t, len(running) / len(x), belief, gain, stops))
        running = running[~stops]
    return tuple(found)


def summarise(sample: RegionSample) -> Step:
    """Quartiles on either side."""
    go = ~sample.stops
    return Step(
        sample.projections,
        sample.reached,
        float(sample.stops.mean()),
        _quartiles(sample.belief[sample.stops]),
        _quartiles(sample.belief[go]),
        _quartiles(sample.gain[sample.stops]),
        _quartiles(sample.gain[go]),
    )


def _quartiles(values: FloatArray) -> tuple[float, float, float]:
    if not len(values):
        return (np.nan,) * 3
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)
