"""Noise that departs from A2 or A2s: heavier tails, dependence between layers, a step at a layer.

The laws of `stopping.model.noise` are what the theorems ask for. These are what a real model may do
instead: Laplace and Student noise have no sub-Gaussian parameter, autoregressive noise is not
independent, and a step is the jump that the lens makes where the type of layer changes (hybrid
attention). `stopping.simulation.robustness` asks which theorem survives each of them.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import special

from stopping.errors import UserError
from stopping.model.noise import AbstractNoise, GaussianNoise, PerLayer, UniformNoise, per_layer
from stopping.types import FloatArray, IntArray


def _infinite_unless_zero(scale: FloatArray) -> FloatArray:
    return np.where(scale > 0, np.inf, 0.0)


@final
@dataclass(frozen=True)
class LaplaceNoise(AbstractNoise):
    """Independent Laplace noise of density `exp(-|y| / scale) / (2 scale)`.

    Its standard deviation is `scale sqrt(2)`. Its moment generating function is infinite beyond
    `1 / scale`, so it is not sub-Gaussian and T10 says nothing about it.
    """

    scale: PerLayer

    def bound(self, layers: int) -> FloatArray:
        """Infinite, but for layers without noise."""
        return _infinite_unless_zero(per_layer(self.scale, layers, "scale"))

    def sigma(self, layers: int) -> FloatArray:
        """Infinite: no sub-Gaussian parameter exists."""
        return self.bound(layers)

    def sample(
        self, rng: np.random.Generator, latent: FloatArray, turning: IntArray, l_min: int
    ) -> FloatArray:
        """Draw independently of the world."""
        return rng.laplace(size=latent.shape) * per_layer(self.scale, latent.shape[1], "scale")


@final
@dataclass(frozen=True)
class StudentNoise(AbstractNoise):
    """Independent Student noise with `freedom > 2` degrees, of standard deviation `deviation`."""

    deviation: PerLayer
    freedom: float = 3.0

    def __post_init__(self) -> None:
        if not self.freedom > 2:
            raise UserError(f"freedom: a variance needs more than 2 degrees, got {self.freedom}")

    def bound(self, layers: int) -> FloatArray:
        """Infinite, but for layers without noise."""
        return _infinite_unless_zero(per_layer(self.deviation, layers, "deviation"))

    def sigma(self, layers: int) -> FloatArray:
        """Infinite: no sub-Gaussian parameter exists."""
        return self.bound(layers)

    def sample(
        self, rng: np.random.Generator, latent: FloatArray, turning: IntArray, l_min: int
    ) -> FloatArray:
        """Draw independently of the world."""
        unit = math.sqrt((self.freedom - 2.0) / self.freedom)
        deviation = per_layer(self.deviation, latent.shape[1], "deviation")
        return rng.standard_t(self.freedom, latent.shape) * unit * deviation


@final
@dataclass(frozen=True)
class AutoregressiveNoise(AbstractNoise):
    """Noise with the law of `marginal` at each layer, correlated between layers.

    A stationary Gaussian AR(1) sequence runs over the layers,

        z[l] = rho z[l-1] + sqrt(1 - rho^2) w[l],        w independent standard normal,

    and `eps[l] = F^-1(Phi(z[l]))` with the marginal distribution function `F` (a Gaussian copula).
    So only the dependence departs from the marginal's own model: a bounded marginal keeps A2, and
    `rho = 0` is the independent law itself. For a Gaussian marginal `eps` is AR(1).
    """

    marginal: GaussianNoise | UniformNoise
    rho: float

    def __post_init__(self) -> None:
        if not -1.0 < self.rho < 1.0:
            raise UserError(f"rho: a stationary sequence needs -1 < rho < 1, got {self.rho}")

    def bound(self, layers: int) -> FloatArray:
        """The marginal's."""
        return self.marginal.bound(layers)

    def sigma(self, layers: int) -> FloatArray:
        """The marginal's; the layers are not independent, so A2s fails all the same."""
        return self.marginal.sigma(layers)

    def sample(
        self, rng: np.random.Generator, latent: FloatArray, turning: IntArray, l_min: int
    ) -> FloatArray:
        """Draw independently of the world."""
        layers = latent.shape[1]
        z = rng.standard_normal(latent.shape)
        fresh = math.sqrt(1.0 - self.rho**2)
        for layer in range(1, layers):
            z[:, layer] = self.rho * z[:, layer - 1] + fresh * z[:, layer]
        if isinstance(self.marginal, GaussianNoise):
            return z * self.marginal.sigma(layers)
        return (2.0 * special.ndtr(z) - 1.0) * self.marginal.bound(layers)


@final
@dataclass(frozen=True)
class SteppedNoise(AbstractNoise):
    """Noise `base` plus the fixed `offset` at every layer from column `layer` on."""

    base: AbstractNoise
    layer: int
    offset: float

    def bound(self, layers: int) -> FloatArray:
        """The base's, enlarged by the offset where it acts."""
        return self.base.bound(layers) + np.abs(self.shift(layers))

    def sigma(self, layers: int) -> FloatArray:
        """The base's: a parameter of the noise about its mean, which is no longer zero."""
        return self.base.sigma(layers)

    def shift(self, layers: int) -> FloatArray:
        """Return the mean that the step gives to the noise, shape (layers,)."""
        if not 0 <= self.layer < layers:
            raise UserError(f"layer: the step must lie in [0, {layers - 1}], got {self.layer}")
        return np.where(np.arange(layers) >= self.layer, self.offset, 0.0)

    def sample(
        self, rng: np.random.Generator, latent: FloatArray, turning: IntArray, l_min: int
    ) -> FloatArray:
        """Draw from the base and add the step."""
        return self.base.sample(rng, latent, turning, l_min) + self.shift(latent.shape[1])


@final
@dataclass(frozen=True)
class StationaryNoise(AbstractNoise):
    """Jointly normal noise of standard deviation `scale` with a given autocorrelation over layers.

    `autocorrelation` holds `r(0) = 1, r(1), ...`, one for each distance between layers; all equal
    beyond `r(0)` makes the layers exchangeable.
    """

    scale: float
    autocorrelation: tuple[float, ...]

    def __post_init__(self) -> None:
        self._root(len(self.autocorrelation))

    def bound(self, layers: int) -> FloatArray:
        """Infinite, but without noise."""
        return _infinite_unless_zero(self.sigma(layers))

    def sigma(self, layers: int) -> FloatArray:
        """The standard deviation; the layers are not independent, so A2s fails all the same."""
        return per_layer(self.scale, layers, "scale")

    def sample(
        self, rng: np.random.Generator, latent: FloatArray, turning: IntArray, l_min: int
    ) -> FloatArray:
        """Draw independently of the world."""
        drawn: FloatArray = rng.standard_normal(latent.shape) @ self._root(latent.shape[1])
        return drawn

    def _root(self, layers: int) -> FloatArray:
        """Symmetric root of the covariance of so many layers."""
        r = np.asarray(self.autocorrelation, dtype=np.float64)
        if len(r) < layers or len(r) == 0 or r[0] != 1.0 or not np.isfinite(r).all():
            raise UserError(f"autocorrelation: needs r(0) = 1 and one for each of {layers} layers")
        distance = np.abs(np.subtract.outer(np.arange(layers), np.arange(layers)))
        values, vectors = np.linalg.eigh(r[distance])
        if values.min() < -1e-9:
            raise UserError(f"autocorrelation: no noise has it, got {self.autocorrelation}")
        root: FloatArray = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T * self.scale
        return root
