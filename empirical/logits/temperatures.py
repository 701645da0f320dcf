"""The final layer at a temperature of one's choice, from the few that traces keep."""

import numpy as np

from stopping.types import FloatArray

INVERSE_TEMPERATURES = (0.6, 0.8, 1.0, 1.2, 1.4)
"""Where traces keep the final layer's log-probabilities; 1 is the layer as it is."""
GRID = np.linspace(INVERSE_TEMPERATURES[0], INVERSE_TEMPERATURES[-1], 81)
"""Among which an inverse temperature is fitted: steps of 0.01."""


def weights(inverse: float) -> FloatArray:
    """Lagrange weights of the kept log-probabilities at an inverse temperature, shape (5,).

    >>> weights(1.2).round(12).tolist()
    [-0.0, 0.0, -0.0, 1.0, 0.0]
    """
    nodes = np.asarray(INVERSE_TEMPERATURES)
    factors = (inverse - nodes[None, :]) / (nodes[:, None] - nodes + np.eye(len(nodes)))
    np.fill_diagonal(factors, 1.0)
    found: FloatArray = factors.prod(axis=1)
    return found


def best_inverse_temperature(mean_log_prob: FloatArray) -> float:
    """Inverse temperature of the grid at which a mean log-probability, kept as (5,), is largest."""
    curve = np.array([weights(inverse) @ mean_log_prob for inverse in GRID])
    return float(GRID[int(curve.argmax())])
