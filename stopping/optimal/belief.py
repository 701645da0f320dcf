"""S1: the two-phase model without projection noise, solved on a grid of beliefs and levels.

**The model.** One component of the change-point model with `noise_sd = 0`, without jumps, on the
scale of nats, and with a flat start (`start_sd` large): the level of `x[L]` says nothing of `V*`.
Going back, the step from layer `l` to `l - 1` is

    D = x[l-1] - x[l] ~ N(-rise_mean[l], rise_sd[l]^2)    if l > V*  (perturbed phase),
                        N(drift_mean[l], drift_sd[l]^2)   if l <= V* (refined phase),

independent given the phase, and the phase changes once, at layer `l - 1` with the hazard
`h = P(V* = l-1 | V* <= l-1)`. Then the belief `b = P(V* < l | F)` is sufficient for the future
steps: after a step it is `b' = (1 - h) b f1(D) / (b f1(D) + (1 - b) f0(D))`.

**The state.** As `x = G`, the loss of returning to a layer is known up to the constant `G[V*]`, so
with recall what matters is `b` and the *level* `y = x[l] - min(x[l..L]) >= 0` of the present layer
above the best one. With `v` the value relative to stopping at the best layer,

    v(b, y) = min(0, cost + E[ -(y + D)^- + v'(b', (y + D)^+) ]).

Without recall the problem is the same at every level, which drops out:

    v(b) = min(0, cost + E[D + v'(b')]).

Projection noise destroys both: `x[l] - G[l]` is then part of the state, and the posterior of
`(V*, G)` has no dimension this low; that is what `stopping.optimal.regression` is for.

The grid is refined (all three meshes halved) until the value moves less than a tolerance.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from stopping.changepoint import Component
from stopping.errors import UserError
from stopping.types import BoolArray, FloatArray

_WIDTH = 6.0
"""Standard deviations that the quadrature of a step covers on either side."""


@dataclass(frozen=True, eq=False)
class BeliefSolution:
    """Value and stopping region of the two-phase model.

    Attributes
    ----------
    value : float
        Least expected excess plus cost, nats.
    moved : float
        How much the last refinement moved the value: the estimate of its error.
    converged : bool
        Whether that is below the tolerance.
    beliefs, levels : ndarrays, shapes (m,), (k,)
        The grid; `levels` is `[0]` without recall.
    stops : bool ndarray, shape (T, m, k)
        Stopping region before the final layer.
    relative : ndarray, shape (T + 1, m, k)
        `v`, zero where it stops.
    """

    value: float
    moved: float
    converged: bool
    cost: float
    recall: bool
    beliefs: FloatArray
    levels: FloatArray
    stops: BoolArray
    relative: FloatArray


def solve_belief(
    component: Component,
    cost: float,
    recall: bool = True,
    tolerance: float = 1e-3,
    most: int = 3,
) -> BeliefSolution:
    """Refine the grid until the value moves less than `tolerance` nats, at most `most` times.

    Raises
    ------
    UserError
        If the component has noise or jumps, or steps without spread, or the cost is negative.
    """
    _require_two_phase(component, cost)
    found = [_solve_on(component, cost, recall, 0)]
    for finer in range(1, most + 1):
        found.append(_solve_on(component, cost, recall, finer))
        if abs(found[-1].value - found[-2].value) < tolerance:
            break
    last = found[-1]
    moved = abs(last.value - found[-2].value)
    return BeliefSolution(
        **{**vars(last), "moved": moved, "converged": moved < tolerance},
    )


def final_excess(component: Component) -> float:
    """Expected excess of the final layer, `E[G[L] - G[V*]]`: the rises beyond `V*`."""
    beyond = np.cumsum(component.turning)[:-1]
    return float(beyond @ component.rise_mean)


def advance(component: Component, column: int, belief: FloatArray, step: FloatArray) -> FloatArray:
    """Belief `P(V* < column - 1)` after the step from `column`, from `P(V* < column)` before."""
    l = column - 1  # noqa: E741  # the layer of the theory
    log_odds = _log_density(step, -component.rise_mean[l], component.rise_sd[l]) - _log_density(
        step, component.drift_mean[l], component.drift_sd[l]
    )
    with np.errstate(over="ignore"):
        # b f1 / (b f1 + (1-b) f0), written so that neither density can underflow.
        posterior = belief / (belief + (1 - belief) * np.exp(-log_odds))
    below, upto = component.turning[:l].sum(), component.turning[: l + 1].sum()
    remains = below / upto if upto > 0 else 0.0
    result: FloatArray = np.nan_to_num(posterior) * remains
    return result


def _solve_on(component: Component, cost: float, recall: bool, finer: int) -> BeliefSolution:
    angles = np.linspace(0.0, np.pi / 2, 24 * 2**finer + 1)
    beliefs = np.sin(angles) ** 2  # dense near certainty, where updates are small
    top = _reach(component)
    levels = top * np.linspace(0.0, 1.0, 24 * 2**finer + 1) ** 2 if recall else np.zeros(1)
    nodes = np.linspace(-_WIDTH, _WIDTH, 24 * 2**finer + 1)
    weights = np.exp(-(nodes**2) / 2)
    weights /= weights.sum()

    horizon = component.w - 1
    relative = np.zeros((horizon + 1, len(beliefs), len(levels)))
    stops = np.zeros((horizon, len(beliefs), len(levels)), dtype=np.bool_)
    b, y = beliefs[:, None, None], levels[None, :, None]
    for t in range(horizon - 1, -1, -1):
        column = horizon - t
        ahead = np.full(relative.shape[1:], cost)
        for share, mean, spread in (
            (b, -component.rise_mean[column - 1], component.rise_sd[column - 1]),
            (1 - b, component.drift_mean[column - 1], component.drift_sd[column - 1]),
        ):
            step = mean + spread * nodes
            after = advance(component, column, b, step)
            landed = y + step
            gain = np.minimum(landed, 0.0) if recall else step
            met = gain + _interpolate(relative[t + 1], after, landed, top, recall)
            ahead += share[..., 0] * (met @ weights)
        stops[t] = ahead >= 0
        relative[t] = np.minimum(ahead, 0.0)
    start = np.full((1, 1, 1), 1 - component.turning[-1])
    first = _interpolate(relative[0], start, np.zeros((1, 1, 1)), top, recall)
    value = final_excess(component) + float(first[0, 0, 0])
    return BeliefSolution(value, np.inf, False, cost, recall, beliefs, levels, stops, relative)


def _interpolate(
    values: FloatArray, belief: FloatArray, level: FloatArray, top: float, recall: bool
) -> FloatArray:
    """Linear interpolation on the grid's own coordinates, levels clipped to it."""
    m, k = values.shape
    row = np.arcsin(np.sqrt(np.clip(belief, 0, 1))) / (np.pi / 2) * (m - 1)
    if not recall:
        found: FloatArray = np.interp(row, np.arange(m), values[:, 0])
        return found
    column = np.sqrt(np.clip(level / top, 0.0, 1.0)) * (k - 1)
    row, column = np.broadcast_arrays(row, column)
    result: FloatArray = ndimage.map_coordinates(values, [row, column], order=1, mode="nearest")
    return result


def _reach(component: Component) -> float:
    """A level that no token can descend from: continuing there is hopeless."""
    falls = np.maximum(
        component.rise_mean + _WIDTH * component.rise_sd,
        -component.drift_mean + _WIDTH * component.drift_sd,
    )
    return float(np.maximum(falls, 0).sum())


def _log_density(x: FloatArray, mean: float, spread: float) -> FloatArray:
    density: FloatArray = -(((x - mean) / spread) ** 2) / 2 - np.log(spread)
    return density


def _require_two_phase(component: Component, cost: float) -> None:
    if component.noise_sd.any() or len(component.jump_sd):
        raise UserError(
            "belief: (belief, level) is no sufficient statistic when the lens is noisy; "
            "set noise_sd to zero, or solve by regression"
        )
    if not (component.rise_sd.all() and component.drift_sd.all()):
        raise UserError(
            "belief: rise_sd and drift_sd must be positive, else one step settles the phase"
        )
    if not (np.isfinite(cost) and cost >= 0):
        raise UserError(f"cost: must be a number of nats >= 0, got {cost}")
