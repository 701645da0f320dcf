"""`E G` in nats for many Gaussian `G` on a scale at once, each with its own mean and spread.

`Scale.mean_nats` knows one spread for all tokens. A scan has one for each time, class, turning
point and layer, and asks thousands of times, so the mean of a softplus, which has no closed form,
is tabulated here once: a bicubic spline in mean and spread, within `1e-6` knees of the quadrature.
"""

from functools import cached_property

import numpy as np
from scipy.interpolate import RectBivariateSpline

from stopping.changepoint import Scale
from stopping.types import FloatArray

_LOW, _HIGH = -40.0, 40.0
"""Beyond these a softplus is exponential, or linear, to double precision for spreads up to 8."""
_STEP = 0.1


class MeanTable:
    """`E G` in nats on one scale, for spreads up to `spread`."""

    def __init__(self, scale: Scale, spread: float) -> None:
        self.scale, self.spread = scale, spread

    def __call__(self, mean: FloatArray, variance: FloatArray) -> FloatArray:
        """Evaluate at means and variances of one shape."""
        if self.scale.knee is None:
            return self.scale.mean_nats(mean, variance)
        inside = np.clip(mean, _LOW, _HIGH)
        found = self._table.ev(inside, np.sqrt(variance))
        # Above the table the mean is linear in nats; below it is the resolution, minus the shift.
        result: FloatArray = found + self.scale.knee * np.maximum(mean - _HIGH, 0.0)
        return result

    @cached_property
    def _table(self) -> RectBivariateSpline:
        means = np.arange(_LOW, _HIGH + _STEP, _STEP)
        spreads = np.linspace(0.0, self.spread, max(5, int(self.spread / _STEP) + 2))
        values = [self.scale.mean_nats(means[:, None], np.array([s**2]))[:, 0] for s in spreads]
        return RectBivariateSpline(means, spreads, np.column_stack(values))
