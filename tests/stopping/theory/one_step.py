"""Closed forms of the exact distribution: one step of three noises, a slope of uniform."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from stopping.types import FloatArray


def uniform_slope(j: ArrayLike, fall: float, eps_max: float) -> FloatArray:
    """`P(the scan steps back j times or more)` where `G` falls by `fall` per layer up to `V* = L`.

    Uniform noise; `fall` may hold the tolerance too, since each step needs the noise to rise by
    `fall + tau`. The value is `(1 - j fall / (2 eps_max))+^(j+1) / (j+1)!`. *Proof.* Subtracting
    `fall` once from the second value, twice from the third and so on turns the event into an
    ordered sample of `j+1` points in an interval shortened by `j fall`.
    """
    steps = np.asarray(j, dtype=np.float64)
    left = np.maximum(1.0 - steps * fall / (2.0 * eps_max), 0.0)
    reached: FloatArray = left ** (steps + 1.0) / special.factorial(steps + 1.0)
    return reached


def uniform_step(t: ArrayLike, eps_max: float) -> FloatArray:
    """`P(eps - eps' > t)` for independent uniform noise: the triangular law.

    The scan steps from `l` to `l-1` with this probability at `t = G[l-1] - G[l] + tau` where
    nothing is known of `x[l]`, as at `L`.
    """
    z = np.clip(np.asarray(t, dtype=np.float64) / (2.0 * eps_max), -1.0, 1.0)
    return np.where(z >= 0, 0.5 * (1.0 - z) ** 2, 1.0 - 0.5 * (1.0 + z) ** 2)


def gaussian_step(t: ArrayLike, sigma: float) -> FloatArray:
    """`P(eps - eps' > t)` for independent normal noise: `Phi(-t / (sigma sqrt 2))`."""
    step: FloatArray = special.ndtr(-np.asarray(t, np.float64) / (sigma * np.sqrt(2.0)))
    return step


def laplace_step(t: ArrayLike, scale: float) -> FloatArray:
    """`P(eps - eps' > t)` for independent Laplace noise."""
    z = np.asarray(t, dtype=np.float64) / scale
    tail = 0.5 * (1.0 + 0.5 * np.abs(z)) * np.exp(-np.abs(z))
    return np.where(z >= 0, tail, 1.0 - tail)
