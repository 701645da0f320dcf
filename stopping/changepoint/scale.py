"""The scale on which the model is Gaussian: nats, or a shifted logarithm of nats.

Entropies are not negative, skewed, and their spread grows with their level. On the scale

    z = log(x + shift)

noise that is additive in `z` is proportional to `G + shift` in nats. A small shift treats an
entropy of 0.01 and one of 1 alike, relatively; as the shift grows the scale becomes nats again, up
to an affine map. The search compares entropies of one token, so no increasing scale changes what
it does; and the mean of `exp(Z)` for Gaussian `Z` is known, so expected losses in nats keep a
closed form. Densities are always those of `x` in nats (`log_slope` is the change of variables),
hence log-likelihoods on different scales may be compared.
"""

import math
from dataclasses import dataclass

import numpy as np

from stopping.errors import UserError
from stopping.types import FloatArray


@dataclass(frozen=True)
class Scale:
    """`z = log(x + shift)` with `shift` in nats, or `z = x` if `shift` is None.

    Raises
    ------
    UserError
        If the shift is not a positive number.
    """

    shift: float | None = None

    def __post_init__(self) -> None:
        if self.shift is not None and not (math.isfinite(self.shift) and self.shift > 0):
            raise UserError(f"shift: must be a positive number of nats, got {self.shift}")

    @property
    def name(self) -> str:
        """Short name for tables."""
        return "nats" if self.shift is None else f"log(x + {self.shift:g})"

    def of(self, x: FloatArray) -> FloatArray:
        """Entropies in nats to this scale.

        Raises
        ------
        UserError
            If an entropy is not above `-shift`, where the logarithm ends.
        """
        if self.shift is None:
            return x
        if x.size and x.min() <= -self.shift:
            raise UserError(
                f"x: {x.min():g} nats is not above -{self.shift:g}, where the scale "
                f"{self.name} ends; entropies are not negative"
            )
        z: FloatArray = np.log(x + self.shift)
        return z

    def nats(self, z: FloatArray) -> FloatArray:
        """Values on this scale back to nats."""
        return z if self.shift is None else np.exp(z) - self.shift

    def log_slope(self, x: FloatArray) -> FloatArray:
        """Log of `dz / dx` at entropies in nats: what a density of `z` needs to be one of `x`."""
        return np.zeros_like(x) if self.shift is None else -np.log(x + self.shift)

    def mean_nats(self, mean: FloatArray, variance: FloatArray) -> FloatArray:
        """`E G` in nats when `G` is normal on this scale with these moments."""
        if self.shift is None:
            return mean
        result: FloatArray = np.exp(mean + variance / 2) - self.shift
        return result
