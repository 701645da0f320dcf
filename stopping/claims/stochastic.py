"""Claims T10 and T11: random noise, in probability and on average."""

from dataclasses import dataclass

import numpy as np

from stopping.claims.claim import Claim, Control
from stopping.model.noise import AbstractNoise, GaussianNoise, RademacherNoise, UniformNoise
from stopping.rules import Search
from stopping.simulation.montecarlo import Relation
from stopping.theory.bounds import (
    excess_tail_bound,
    expected_excess_bound,
    expected_overshoot_bound,
    run_bound,
    stop_above_bound,
)
from stopping.types import FloatArray

SIGMA = 1.0


def _stops(
    rng: np.random.Generator, G: FloatArray, turning: int, noise: AbstractNoise, n: int
) -> tuple[FloatArray, FloatArray]:
    """Steps past `V*` (negative: stopped above it) and excess, for `n` tokens of one world."""
    latent = np.broadcast_to(G, (n, len(G)))
    eps = noise.sample(rng, latent, np.full(n, turning), 0)
    stop = Search(len(G) - 1).choose(latent + eps)
    return (turning - stop).astype(np.float64), G[stop] - G[turning]


@dataclass(frozen=True)
class StopsAbove:
    """Indicator of `V^ > V*` in a world with `rises` beyond its turning point."""

    rises: tuple[float, ...]
    noise: AbstractNoise

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        G = np.cumsum([0.0, -1.0, -1.0, *self.rises])
        steps, _ = _stops(rng, G, 2, self.noise, n)
        return (steps < 0).astype(np.float64)


@dataclass(frozen=True)
class LosesMoreThan:
    """Indicator of `excess(V^) > t` with `V^ <= V* = L`, one cliff just above `t`."""

    t: float
    noise: AbstractNoise

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        G = np.array([self.t * 1.000001, 0.0])
        steps, excess = _stops(rng, G, 1, self.noise, n)
        return ((steps >= 0) & (excess > self.t)).astype(np.float64)


@dataclass(frozen=True)
class Excess:
    """`excess(V^)` on `V^ <= V* = L`, for the given falls of `G` per layer."""

    falls: tuple[float, ...]
    noise: AbstractNoise

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        G = np.concatenate([[0.0], -np.cumsum(self.falls)])
        return _stops(rng, G, len(G) - 1, self.noise, n)[1]


@dataclass(frozen=True)
class Overshoot:
    """Steps past `V* = L`, or the indicator that there are at least `j`.

    `drift` is the fall of `G` per layer. `summed` breaks the assumption: the noise becomes a
    random walk, whose layers are not exchangeable.
    """

    noise: AbstractNoise
    layers: int
    j: int | None = None
    drift: float = 0.0
    summed: bool = False

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        G = -self.drift * np.arange(self.layers)
        latent = np.broadcast_to(G, (n, self.layers))
        turning = np.full(n, self.layers - 1)
        eps = self.noise.sample(rng, latent, turning, 0)
        if self.summed:
            eps = np.cumsum(eps, axis=1)
        steps = turning - Search(self.layers - 1).choose(latent + eps)
        return (steps if self.j is None else steps >= self.j).astype(np.float64)


NORMAL, TWICE = GaussianNoise(SIGMA), GaussianNoise(2 * SIGMA)
RISES = (3.0, 3.0)
DEEP = 10
"""Layers of a window deep enough for T11's mean: deeper runs add less than 1e-6 steps."""

CLAIMS = (
    Claim(
        "T10.above",
        "P(V^ > V*) <= sum exp(-delta^2 / 4 sigma^2), two rises of 3 sigma",
        Relation.MEAN_AT_MOST,
        stop_above_bound(RISES, SIGMA),
        StopsAbove(RISES, NORMAL),
        Control("noise of 2 sigma", StopsAbove(RISES, TWICE)),
        tex=(
            r"$\mathbb{P}(\hat V > V^*) \le \sum \exp(-\delta^2/4\sigma^2)$, two "
            r"rises of $3\sigma$"
        ),
    ),
    Claim(
        "T10.tail",
        "P(excess > 3 sigma, V^ <= V*) <= exp(-9/4)",
        Relation.MEAN_AT_MOST,
        float(excess_tail_bound(3.0, SIGMA)),
        LosesMoreThan(3.0, NORMAL),
        Control("noise of 2 sigma", LosesMoreThan(3.0, TWICE)),
        tex=(r"$\mathbb{P}(\operatorname{excess} > 3\sigma,\ \hat V \le V^*) \le " r"e^{-9/4}$"),
    ),
    Claim(
        "T10.mean",
        "E[excess; V^ <= V*] <= sigma sqrt(pi), six equal falls",
        Relation.MEAN_AT_MOST,
        float(expected_excess_bound(SIGMA)),
        Excess((0.6,) * 6, NORMAL),
        Control(
            "noise of 8 sigma (the bound is 7 times the worst case)",
            Excess((4.8,) * 6, GaussianNoise(8 * SIGMA)),
        ),
        tex=(
            r"$\mathbb{E}[\operatorname{excess};\ \hat V \le V^*] \le "
            r"\sigma\sqrt{\pi}$, six equal falls"
        ),
    ),
    Claim(
        "T11.run",
        "flat G, uniform noise: P(V* - V^ >= 2) = 1/3!",
        Relation.MEAN_EQUALS,
        float(run_bound(2)),
        Overshoot(UniformNoise(1.0), DEEP, j=2),
        Control("noise a random walk", Overshoot(UniformNoise(1.0), DEEP, j=2, summed=True)),
        tolerance=0.005,
        tex=r"flat $G$, uniform noise: $\mathbb{P}(V^* - \hat V \ge 2) = 1/3!$",
    ),
    Claim(
        "T11.tail",
        "falling G, Gaussian noise: P(V* - V^ >= 2) <= 1/3!",
        Relation.MEAN_AT_MOST,
        float(run_bound(2)),
        Overshoot(NORMAL, DEEP, j=2, drift=0.1),
        Control("noise a random walk", Overshoot(NORMAL, DEEP, j=2, drift=0.1, summed=True)),
        tex=r"falling $G$, Gaussian noise: $\mathbb{P}(V^* - \hat V \ge 2) \le 1/3!$",
    ),
    Claim(
        "T11.mean",
        "flat G, Gaussian noise: E[V* - V^] = e - 2",
        Relation.MEAN_EQUALS,
        expected_overshoot_bound(),
        Overshoot(NORMAL, DEEP),
        Control("noise with ties (Rademacher)", Overshoot(RademacherNoise(1.0), DEEP)),
        tolerance=0.01,
        tex=r"flat $G$, Gaussian noise: $\mathbb{E}[V^* - \hat V] = e - 2$",
    ),
)
