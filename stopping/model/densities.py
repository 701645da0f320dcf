"""Densities of the projection noise, with what quadrature has to know of them.

The exact distribution (T12) integrates products of densities and distribution functions. It does so
to rounding error on pieces where each density is smooth, so a `Density` says where to cut: at the
ends of its support, at each jump or kink, and often enough in between that a polynomial of modest
degree follows it. Laws that have no density (`RademacherNoise`, the adversary, layers without
noise) or that depend across layers have no place here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Literal, Protocol, final

import numpy as np
from scipy import special

from stopping.errors import UserError
from stopping.model.misspecification import LaplaceNoise
from stopping.model.noise import (
    AbstractNoise,
    GaussianNoise,
    TruncatedNormalNoise,
    UniformNoise,
    per_layer,
)
from stopping.types import FloatArray

Unit = Literal["eps_max", "sigma"]
# Cuts of the normal law: beyond 8.5 standard deviations lies a mass of 2e-17, below rounding.
NORMAL_EDGES = (-8.5, -6.5, -5.0, -3.5, -2.25, -1.0, 0.0, 1.0, 2.25, 3.5, 5.0, 6.5, 8.5)
# Cuts of the Laplace law, a kink at 0: beyond 36 scales lies a mass of 2e-16.
LAPLACE_EDGES = tuple(
    sign * edge for sign in (-1, 1) for edge in (36.0, 26.0, 18.0, 12.0, 8.0, 5.0, 3.0, 1.5, 0.0)
)
# Quantiles at which an unknown law is cut; the outermost leave 2e-15 of mass outside.
LEVELS = (1e-15, 1e-13, 1e-11, 1e-9, 1e-7, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.15, 0.3, 0.5)


class Distribution(Protocol):
    """What is asked of a law given from outside; a frozen `scipy.stats` distribution has it."""

    def pdf(self, x: FloatArray, /) -> FloatArray:
        """Density."""

    def cdf(self, x: FloatArray, /) -> FloatArray:
        """Distribution function."""

    def ppf(self, q: FloatArray, /) -> FloatArray:
        """Quantiles."""

    def isf(self, q: FloatArray, /) -> FloatArray:
        """Upper quantiles."""

    def support(self) -> tuple[float, float]:
        """Ends of the support, possibly infinite."""


@final
@dataclass(frozen=True)
class Density:
    """The law of `eps` at one layer.

    Attributes
    ----------
    pdf, cdf : callable
        Density and distribution function, on arrays of any shape.
    edges : tuple of float
        Increasing. The first and the last hold all mass but a rounding error between them; the
        density is smooth between neighbours and may jump or bend at each of them.
    """

    pdf: Callable[[FloatArray], FloatArray]
    cdf: Callable[[FloatArray], FloatArray]
    edges: tuple[float, ...]

    def __post_init__(self) -> None:
        if not (np.isfinite(self.edges).all() and len(self.edges) >= 2):
            raise UserError(f"edges: need at least two finite numbers, got {self.edges}")
        if not (np.diff(self.edges) > 0).all():
            raise UserError(f"edges: must increase strictly, got {self.edges}")

    @classmethod
    def of(cls, law: Distribution, kinks: Sequence[float] = ()) -> "Density":
        """Wrap a frozen `scipy.stats` law, which may jump or bend at its `kinks`.

        Examples
        --------
        >>> from scipy import stats
        >>> Density.of(stats.logistic(scale=0.1)).edges[12]
        0.0
        """
        low, high = law.support()
        levels = np.array(LEVELS)
        inner = np.concatenate([law.ppf(levels), law.isf(levels), np.array(kinks, dtype=float)])
        ends = [end for end in (low, high) if np.isfinite(end)]
        return cls(law.pdf, law.cdf, tuple(map(float, np.unique(np.append(inner, ends)))))


def uniform(eps_max: float) -> Density:
    """Uniform on `[-eps_max, eps_max]`."""
    height = 0.5 / eps_max

    def pdf(y: FloatArray) -> FloatArray:
        return np.where(np.abs(y) <= eps_max, height, 0.0)

    def cdf(y: FloatArray) -> FloatArray:
        return np.clip((y + eps_max) * height, 0.0, 1.0)

    return Density(pdf, cdf, (-eps_max, eps_max))


def normal(scale: float) -> Density:
    """Normal with standard deviation `scale`."""
    return _scaled(_normal_pdf, special.ndtr, scale, NORMAL_EDGES)


def laplace(scale: float) -> Density:
    """Laplace with density `exp(-|y| / scale) / (2 scale)`."""

    def pdf(z: FloatArray) -> FloatArray:
        return 0.5 * np.exp(-np.abs(z))

    def cdf(z: FloatArray) -> FloatArray:
        tail = pdf(z)
        return np.where(z < 0, tail, 1.0 - tail)

    return _scaled(pdf, cdf, scale, tuple(sorted(set(LAPLACE_EDGES))))


def truncated_normal(scale: float, eps_max: float) -> Density:
    """Normal of standard deviation `scale` conditioned on `|eps| <= eps_max`."""
    end = eps_max / scale
    low = float(special.ndtr(-end))
    mass = 1.0 - 2.0 * low

    def pdf(z: FloatArray) -> FloatArray:
        return np.where(np.abs(z) <= end, _normal_pdf(z) / mass, 0.0)

    def cdf(z: FloatArray) -> FloatArray:
        return np.clip((special.ndtr(z) - low) / mass, 0.0, 1.0)

    cut = min(end, NORMAL_EDGES[-1])
    inner = tuple(edge for edge in NORMAL_EDGES if abs(edge) < cut)
    return _scaled(pdf, cdf, scale, (-cut, *inner, cut))


def _normal_pdf(z: FloatArray) -> FloatArray:
    density: FloatArray = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    return density


def _scaled(
    pdf: Callable[[FloatArray], FloatArray],
    cdf: Callable[[FloatArray], FloatArray],
    scale: float,
    edges: tuple[float, ...],
) -> Density:
    return Density(
        lambda y: pdf(y / scale) / scale, lambda y: cdf(y / scale), tuple(e * scale for e in edges)
    )


@dataclass(frozen=True)
class Law:
    """A law of i.i.d. noise in its own unit, as tables of constants (T13) ask for it.

    Attributes
    ----------
    name : str
    unit : str
        `eps_max`: the density is on `[-1, 1]`; `sigma`: it has standard deviation 1.
    density : Density
    sub_gaussian : float or None
        A sub-Gaussian parameter in the same unit; None if there is none (then T10 is silent).
    flat : bool
        The density is constant on its support, `[-1, 1]`: T13 knows the constant exactly.
    """

    name: str
    unit: Unit
    density: Density
    sub_gaussian: float | None
    flat: bool = False


LAWS = (
    Law("uniform", "eps_max", uniform(1.0), 1.0 / math.sqrt(3.0), flat=True),
    # A normal law truncated to [-eps_max, eps_max] has its parent's sub-Gaussian parameter.
    Law("normal of scale eps_max/2, truncated", "eps_max", truncated_normal(0.5, 1.0), 0.5),
    Law("normal", "sigma", normal(1.0), 1.0),
    Law("Laplace", "sigma", laplace(math.sqrt(0.5)), None),
)


def standard_deviation(density: Density) -> float:
    """Root of the variance, by quadrature."""
    mean = _integral(density, lambda y: y * density.pdf(y))
    return math.sqrt(_integral(density, lambda y: (y - mean) ** 2 * density.pdf(y)))


def mean_positive_difference(density: Density) -> float:
    """`E (eps - eps')+` for independent `eps`, `eps'`: the integral of `F (1 - F)`."""
    return _integral(density, lambda y: density.cdf(y) * (1.0 - density.cdf(y)))


def _integral(density: Density, function: Callable[[FloatArray], FloatArray]) -> float:
    node, weight = np.polynomial.legendre.leggauss(32)
    edges = np.asarray(density.edges)
    half = 0.5 * np.diff(edges)[:, None]
    y = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * node
    return float((half * weight * function(y)).sum())


@singledispatch
def densities(noise: AbstractNoise, layers: int) -> tuple[Density, ...]:
    """Return the density of the noise at each of `layers` layers.

    Raises
    ------
    UserError
        If the law has no density, or a layer has no noise, or the layers are dependent.
    """
    raise UserError(
        f"{type(noise).__name__}: the exact distribution needs independent noise with a density at "
        "each "
        "layer; simulate this one instead"
    )


def _positive(values: FloatArray, what: str) -> list[float]:
    if not (values > 0).all():
        raise UserError(
            f"{what}: the exact distribution needs noise at every layer, got {values.min():g}"
        )
    return [float(value) for value in values]


@densities.register
def _(noise: UniformNoise, layers: int) -> tuple[Density, ...]:
    return tuple(map(uniform, _positive(noise.bound(layers), "eps_max")))


@densities.register
def _(noise: GaussianNoise, layers: int) -> tuple[Density, ...]:
    return tuple(map(normal, _positive(noise.sigma(layers), "scale")))


@densities.register
def _(noise: LaplaceNoise, layers: int) -> tuple[Density, ...]:
    return tuple(map(laplace, _positive(per_layer(noise.scale, layers, "scale"), "scale")))


@densities.register
def _(noise: TruncatedNormalNoise, layers: int) -> tuple[Density, ...]:
    scales = _positive(per_layer(noise.scale, layers, "scale"), "scale")
    return tuple(map(truncated_normal, scales, _positive(noise.bound(layers), "eps_max")))
