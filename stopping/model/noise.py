"""Laws of the projection noise `eps`, the worst admissible one included.

A2 asks for `|eps[l]| <= eps_max`, its stochastic form A2s for independent `sigma`-sub-Gaussian
noise: `E exp(s eps) <= exp(s^2 sigma^2 / 2)`. Scales may be one number or one per layer.
"""

import abc
import math
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from scipy import special

from stopping.errors import UserError
from stopping.types import BoolArray, FloatArray, IntArray

PerLayer: TypeAlias = float | tuple[float, ...]


def per_layer(value: PerLayer, layers: int, what: str) -> FloatArray:
    """Spread a scalar over `layers`, or check that there is one finite value >= 0 for each."""
    spread = np.asarray(value, dtype=np.float64)
    if spread.ndim > 1 or (spread.ndim == 1 and len(spread) != layers):
        raise UserError(f"{what}: expected one number or {layers}, got shape {spread.shape}")
    if not (np.isfinite(spread).all() and (spread >= 0).all()):
        raise UserError(f"{what}: must be finite and >= 0, got {value}")
    return np.broadcast_to(spread, (layers,)).astype(np.float64)


class AbstractNoise(abc.ABC):
    """A law of `eps`, possibly knowing the latent world (the adversary does)."""

    @abc.abstractmethod
    def bound(self, layers: int) -> FloatArray:
        """`eps_max` of each layer, shape (layers,); infinite for unbounded noise."""

    @abc.abstractmethod
    def sigma(self, layers: int) -> FloatArray:
        """A sub-Gaussian parameter of each layer, shape (layers,)."""

    @abc.abstractmethod
    def sample(
        self, rng: np.random.Generator, latent: FloatArray, turning: IntArray, l_min: int
    ) -> FloatArray:
        """Draw `eps`, shape (n, layers), for tokens with latent `G` and turning points `V*`."""


@dataclass(frozen=True)
class AbstractBoundedNoise(AbstractNoise):
    """Noise within `[-eps_max, eps_max]`."""

    eps_max: PerLayer

    def bound(self, layers: int) -> FloatArray:
        """`eps_max`."""
        return per_layer(self.eps_max, layers, "eps_max")

    def sigma(self, layers: int) -> FloatArray:
        """`eps_max`, by Hoeffding's lemma."""
        return self.bound(layers)


@final
@dataclass(frozen=True)
class UniformNoise(AbstractBoundedNoise):
    """Independent uniform on `[-eps_max, eps_max]`; strictly sub-Gaussian, `eps_max / sqrt(3)`."""

    def sigma(self, layers: int) -> FloatArray:
        """The standard deviation: the uniform law is strictly sub-Gaussian."""
        return self.bound(layers) / math.sqrt(3.0)

    def sample(
        self, rng: np.random.Generator, latent: FloatArray, turning: IntArray, l_min: int
    ) -> FloatArray:
        """Draw independently of the world."""
        return rng.uniform(-1.0, 1.0, latent.shape) * self.bound(latent.shape[1])


@final
@dataclass(frozen=True)
class GaussianNoise(AbstractNoise):
    """Independent normal with standard deviation `scale`."""

    scale: PerLayer

    def bound(self, layers: int) -> FloatArray:
        """Infinite, but for layers without noise."""
        return np.where(self.sigma(layers) > 0, np.inf, 0.0)

    def sigma(self, layers: int) -> FloatArray:
        """The standard deviation."""
        return per_layer(self.scale, layers, "scale")

    def sample(
        self, rng: np.random.Generator, latent: FloatArray, turning: IntArray, l_min: int
    ) -> FloatArray:
        """Draw independently of the world."""
        return rng.standard_normal(latent.shape) * self.sigma(latent.shape[1])


@final
@dataclass(frozen=True)
class TruncatedNormalNoise(AbstractNoise):
    """Independent normal of standard deviation `scale`, conditioned on `|eps| <= eps_max`."""

    scale: PerLayer
    eps_max: PerLayer

    def bound(self, layers: int) -> FloatArray:
        """`eps_max`."""
        return per_layer(self.eps_max, layers, "eps_max")

    def sigma(self, layers: int) -> FloatArray:
        """`min(scale, eps_max)`: truncation keeps strong log-concavity, and Hoeffding's lemma."""
        return np.minimum(per_layer(self.scale, layers, "scale"), self.bound(layers))

    def sample(
        self, rng: np.random.Generator, latent: FloatArray, turning: IntArray, l_min: int
    ) -> FloatArray:
        """Draw by inverting the distribution function."""
        layers = latent.shape[1]
        scale = per_layer(self.scale, layers, "scale")
        # A layer of zero scale has no noise; any positive stand-in keeps the ratio defined.
        safe = np.where(scale > 0, scale, 1.0)
        low = special.ndtr(-self.bound(layers) / safe)
        quantile = low + rng.random(latent.shape) * (1.0 - 2.0 * low)
        bound = self.bound(layers)
        return np.clip(scale * special.ndtri(quantile), -bound, bound)


@final
@dataclass(frozen=True)
class RademacherNoise(AbstractBoundedNoise):
    """Independent, `+eps_max` or `-eps_max` with probability one half each."""

    def sample(
        self, rng: np.random.Generator, latent: FloatArray, turning: IntArray, l_min: int
    ) -> FloatArray:
        """Draw independently of the world."""
        signs = rng.integers(0, 2, latent.shape) * 2.0 - 1.0
        return signs * self.bound(latent.shape[1])


@final
@dataclass(frozen=True)
class AdversarialNoise(AbstractBoundedNoise):
    """The worst noise that A2 admits for the search with tolerance `tau`, token by token."""

    tau: float = 0.0

    def sample(
        self, rng: np.random.Generator, latent: FloatArray, turning: IntArray, l_min: int
    ) -> FloatArray:
        """Return `worst_noise`; nothing is drawn."""
        return worst_noise(latent, turning, self.bound(latent.shape[1]), l_min, self.tau)


def worst_noise(
    latent: FloatArray, turning: IntArray, eps_max: FloatArray, l_min: int, tau: float = 0.0
) -> FloatArray:
    """Noise within `eps_max` that makes the search stop where it hurts this token most.

    With `y[l] = G[l] - tau l` the search stops at `t` exactly when `y + eps` rises strictly from
    `t` to `L` and does not rise from `t-1` to `t`. Such noise exists if and only if

        y[i] - eps_max[i] < y[j] + eps_max[j]   for all t <= i < j, and
        y[t-1] + eps_max[t-1] >= y[t] - eps_max[t]   or t = l_min,

    since the running maximum of the lower ends and the running minimum of the upper ends leave
    room for a strictly rising sequence between them. Among the feasible `t` the adversary takes
    one of largest excess.

    Parameters
    ----------
    latent : ndarray, shape (n, layers)
        `G`.
    turning : ndarray of int, shape (n,)
    eps_max : ndarray, shape (layers,)
    l_min : int
    tau : float
        Tolerance of the search that is attacked.

    Returns
    -------
    ndarray, shape (n, layers)
    """
    n, layers = latent.shape
    rows = np.arange(n)
    y = latent - tau * np.arange(layers)
    low, high = y - eps_max, y + eps_max
    least_high = np.minimum.accumulate(high[:, ::-1], axis=1)[:, ::-1]

    # Feasible to rise strictly from t to L: every low[i], i >= t, lies below all later highs.
    rises = low[:, :-1] < least_high[:, 1:]
    rise: BoolArray = np.ones((n, layers), dtype=bool)
    rise[:, :-1] = np.logical_and.accumulate(rises[:, ::-1], axis=1)[:, ::-1]
    halts = np.ones((n, layers), dtype=bool)
    halts[:, 1:] = high[:, :-1] >= low[:, 1:]
    halts[:, l_min] = True
    feasible = rise & halts
    feasible[:, :l_min] = False
    loss = np.where(feasible, latent - latent[rows, turning][:, None], -np.inf)
    target = loss.argmax(axis=1)

    column = np.arange(layers)
    above = column >= target[:, None]
    most_low = np.maximum.accumulate(np.where(above, low, -np.inf), axis=1)
    # Weights rise from 0 at the target towards 1, so the sequence between the envelopes is
    # strictly rising, as low as it can be at the target and as high as it can be at L.
    weight = np.clip((column - target[:, None]) / np.maximum(layers - 1 - target, 1)[:, None], 0, 1)
    rise_to = np.where(above, (1 - weight) * np.where(above, most_low, 0) + weight * least_high, 0)
    noise = np.where(above, rise_to - y, eps_max)
    return np.clip(noise, -eps_max, eps_max)
