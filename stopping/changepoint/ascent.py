"""Uphill within the bounds: L-BFGS-B from far away, Newton steps with exact information to end it.

Likelihoods of mixtures are flat and curved at once, where L-BFGS-B crawls; Newton steps with the
exact observed information get there, each halved until the likelihood rises.
"""

import numpy as np
from scipy.optimize import Bounds, minimize

from stopping.changepoint.layout import held, redundant
from stopping.changepoint.objective import Objective
from stopping.changepoint.scores import information, inverse_root
from stopping.types import FloatArray

PROMISE = 1.0
"""Nats of log-likelihood, over all tokens, below which the optimisation has converged."""
_ENOUGH = 1e-8
"""And below which no further step is made. On flat ground a quarter of a nat is half a standard
error, and where a fit ended would depend on the processor's rounding, visibly."""
_MEMORY, _TOLERANCE, _HALVINGS = 30, 1e-10, 10


def optimise(
    objective: Objective, theta: FloatArray, iterations: int
) -> tuple[float, FloatArray, int]:
    """L-BFGS-B from `theta`: the mean log-likelihood reached, where, and evaluations made."""
    low, high = objective.layout.bounds()

    def descent(vector: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = objective.value_and_gradient(vector)
        return -value, -gradient

    found = minimize(
        descent,
        np.clip(theta, low, high),
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(low, high),
        options={
            "maxiter": iterations,
            "maxfun": 2 * iterations,
            "maxcor": _MEMORY,
            "ftol": _TOLERANCE,
            "gtol": 1e-7,
        },
    )
    return -float(found.fun), np.asarray(found.x), int(found.nfev)


def newton(objective: Objective, theta: FloatArray, steps: int) -> tuple[float, FloatArray, float]:
    """Newton steps within the bounds, each halved until the likelihood rises.

    Returns
    -------
    value, theta
        Mean log-likelihood per token reached, and where.
    promised : float
        Log-likelihood over all tokens that the next step promises, nats.
    """
    low, high = objective.layout.bounds()
    value, gradient = objective.value_and_gradient(theta)
    for taken in range(steps + 1):
        # At a bound, a slope that points outwards holds the entry there.
        margin = 1e-6 * np.maximum(1.0, np.abs(theta))
        inwards = (gradient > 0) & (theta <= low + margin)
        inwards |= (gradient < 0) & (theta >= high - margin)
        free = ~redundant(objective.layout, theta) & (~held(objective.layout, theta) | inwards)
        slope = gradient[free] * objective.total
        root, _ = inverse_root(information(objective, theta).observed[np.ix_(free, free)])
        step = np.zeros(len(theta))
        step[free] = root @ (root.T @ slope)
        promised = float(slope @ step[free] / 2)
        if promised < _ENOUGH or taken == steps:
            break
        risen = higher(objective, theta, value, step)
        if risen is None:
            break
        theta, value, gradient = risen
    return value, theta, promised


def higher(
    objective: Objective, theta: FloatArray, value: float, step: FloatArray
) -> tuple[FloatArray, float, FloatArray] | None:
    """Go along a step within the bounds, halved until the likelihood rises; None if it never does.

    Returns where, the mean log-likelihood there, and its gradient.
    """
    low, high = objective.layout.bounds()
    for _ in range(_HALVINGS):
        moved = np.clip(theta + step, low, high)
        reached, gradient = objective.value_and_gradient(moved)
        if reached > value:
            return moved, reached, gradient
        step = step / 2
    return None
