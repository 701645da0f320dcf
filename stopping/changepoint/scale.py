r"""The scale on which the model is Gaussian: nats, or a softplus or shifted logarithm of nats.

Entropies are not negative, skewed, and the spread of small ones is proportional to their level
while that of large ones is not. The softplus scale has both ends:

    x + shift = knee * log(1 + exp(z)),

which is a logarithm well below the knee and nats (divided by the knee) well above it. Without a
knee the scale is `z = log(x + shift)` throughout, without a shift nats throughout. `shift` is the
resolution: entropies well below it are all alike, and zero has a place. The search compares
entropies of one token, so no increasing scale changes what it does.

Densities are always those of `x` in nats (`log_slope` is the change of variables), hence
log-likelihoods on different scales may be compared. Expected losses are in nats too: the mean of
`exp(Z)` for Gaussian `Z` is known, that of a softplus is one integral of a smooth function, done by
Gauss-Legendre quadrature and interpolated in the mean with an error below `1e-6` knees
for any spread up to 8.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from stopping.errors import UserError
from stopping.types import FloatArray

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline

_NODES, _REACH = 192, 8.5
_GRID = np.linspace(-60.0, 60.0, 601)


@dataclass(frozen=True)
class Scale:
    """Nats (the default), `log(x + shift)`, or a softplus with a knee.

    Raises
    ------
    UserError
        If shift or knee is not a positive number, or there is a knee without a shift.
    """

    shift: float | None = None
    knee: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("shift", self.shift), ("knee", self.knee)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UserError(f"{name}: must be a positive number of nats, got {value}")
        if self.knee is not None and self.shift is None:
            raise UserError("knee: a softplus scale needs a shift as well")

    @property
    def name(self) -> str:
        """Short name for tables."""
        if self.shift is None:
            return "nats"
        return "log" if self.knee is None else f"softplus {self.knee:g}"

    def of(self, x: FloatArray) -> FloatArray:
        """Entropies in nats to this scale.

        Raises
        ------
        UserError
            If an entropy is not above `-shift`, where the scale ends.
        """
        if self.shift is None:
            return x
        if x.size and x.min() <= -self.shift:
            raise UserError(
                f"x: {x.min():g} nats is not above -{self.shift:g}, where the scale "
                f"{self.name} ends; entropies are not negative"
            )
        if self.knee is None:
            z: FloatArray = np.log(x + self.shift)
            return z
        y = (x + self.shift) / self.knee
        inverse: FloatArray = y + np.log(-np.expm1(-y))
        return inverse

    def nats(self, z: FloatArray) -> FloatArray:
        """Values on this scale back to nats."""
        if self.shift is None:
            return z
        if self.knee is None:
            return np.exp(z) - self.shift
        result: FloatArray = self.knee * np.logaddexp(0.0, z) - self.shift
        return result

    def log_slope(self, x: FloatArray) -> FloatArray:
        """Log of `dz / dx` at entropies in nats: what a density of `z` needs to be one of `x`."""
        if self.shift is None:
            return np.zeros_like(x)
        if self.knee is None:
            return -np.log(x + self.shift)
        result: FloatArray = -np.log(-np.expm1(-(x + self.shift) / self.knee)) - math.log(self.knee)
        return result

    def mean_nats(self, mean: FloatArray, variance: FloatArray) -> FloatArray:
        """`E G` in nats when `G` is normal on this scale.

        Parameters
        ----------
        mean : ndarray, shape of `variance` with any axes before
        variance : ndarray
            The same for all tokens, as it is given a class and a turning point.
        """
        if self.shift is None:
            return mean
        if self.knee is None:
            result: FloatArray = np.exp(mean + variance / 2) - self.shift
            return result
        if mean.shape == variance.shape:
            return self.knee * _softplus_integral(mean, np.sqrt(variance)) - self.shift
        found = np.empty_like(mean)
        for place in np.ndindex(variance.shape):
            spread = math.sqrt(variance[place])
            found[..., *place] = _mean_softplus(mean[..., *place], spread)
        return self.knee * found - self.shift


def _mean_softplus(mean: FloatArray, spread: float) -> FloatArray:
    """`E log(1 + exp(Z))` for `Z ~ N(mean, spread^2)`, any shape."""
    if spread == 0:
        return np.logaddexp(0.0, mean)
    if mean.size <= _NODES:
        return _softplus_integral(mean, spread)
    result: FloatArray = _softplus_spline(spread)(mean)
    beyond = np.abs(mean) > _GRID[-1]
    if beyond.any():
        result[beyond] = _softplus_integral(mean[beyond], spread)
    return result


@lru_cache(maxsize=1024)
def _softplus_spline(spread: float) -> "CubicSpline":
    # Here, since it takes most of a second to import and most models are on another scale.
    from scipy.interpolate import CubicSpline

    return CubicSpline(_GRID, _softplus_integral(_GRID, spread))


def _softplus_integral(mean: FloatArray, spread: float | FloatArray) -> FloatArray:
    t, law = _normal_nodes()
    z = np.asarray(mean)[..., None] + np.asarray(spread)[..., None] * t
    result: FloatArray = np.logaddexp(0.0, z) @ law
    return result


@lru_cache(maxsize=1)
def _normal_nodes() -> tuple[FloatArray, FloatArray]:
    """Nodes and probabilities that stand for a standard normal law."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    t = _REACH * nodes
    density = weights * np.exp(-(t**2) / 2)
    return t, density / density.sum()
