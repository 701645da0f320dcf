"""Heavier tails: classes that differ in scale alone.

The model with all means and the turning distribution in common and every standard deviation of
class `c` multiplied by `scale[c]` (1 for the first) is a scale mixture of Gaussians: symmetric
noise with heavier tails than normal. It is a special case of free classes, fitted through the same
objective by the chain rule, to see what tails alone can do.
"""

import numpy as np
from scipy.optimize import Bounds, minimize

from stopping.changepoint.estimate import random_start
from stopping.changepoint.layout import Layout
from stopping.changepoint.model import ChangePointModel
from stopping.changepoint.objective import Objective
from stopping.types import FloatArray

_LOG_SCALE_BOUND = 5.0


def fit_tails(z: FloatArray, layout: Layout, seed: int, iterations: int) -> ChangePointModel:
    """Fit a scale mixture of `layout.classes` classes to entropies on the model's scale, (n, w)."""
    objective = Objective(layout, z, np.ones(len(z)))
    shared, classes = layout.per_class, layout.classes
    one = Layout(layout.w, 1, layout.scale, layout.spread, layout.types, layout.final_noise)
    start = random_start(one, z, np.random.default_rng(seed))[:shared]
    vector = np.concatenate([start, np.linspace(0.0, 1.5, classes)[1:], np.zeros(classes)])
    low, high = (end[:shared] for end in layout.bounds())
    reach = np.concatenate([np.full(classes - 1, _LOG_SCALE_BOUND), np.full(classes, 12.0)])

    def descent(own: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = objective.value_and_gradient(expanded(layout, own))
        return -value, -contracted(layout, own, gradient)

    found = minimize(
        descent,
        vector,
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(np.concatenate([low, -reach]), np.concatenate([high, reach])),
        options={"maxiter": iterations, "maxcor": 30, "ftol": 1e-10},
    )
    return layout.model(expanded(layout, np.asarray(found.x)))


def expanded(layout: Layout, own: FloatArray) -> FloatArray:
    """Vector of free classes that `(shared parameters, log scales, weight logits)` stands for."""
    theta = np.empty(layout.size)
    for c, scale in enumerate(_scales(layout, own)):
        for name, at in layout.slices.items():
            layout.part(theta, c, name)[:] = own[at] * (scale if name.endswith("_sd") else 1.0)
    layout.weight_logits(theta)[:] = own[-layout.classes :]
    return theta


def contracted(layout: Layout, own: FloatArray, gradient: FloatArray) -> FloatArray:
    """Gradient by the shared vector from that by the free one."""
    result = np.zeros_like(own)
    for c, scale in enumerate(_scales(layout, own)):
        for name, at in layout.slices.items():
            slope = layout.part(gradient, c, name)
            if not name.endswith("_sd"):
                result[at] += slope
                continue
            result[at] += scale * slope
            if c:
                result[layout.per_class + c - 1] += scale * (slope @ own[at])
    result[-layout.classes :] = layout.weight_logits(gradient)
    return result


def _scales(layout: Layout, own: FloatArray) -> FloatArray:
    logs = own[layout.per_class : layout.per_class + layout.classes - 1]
    scales: FloatArray = np.exp(np.concatenate([[0.0], logs]))
    return scales
