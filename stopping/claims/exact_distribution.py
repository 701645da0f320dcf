"""Claims T12, T13: the exact distribution against simulation, constants of the average case."""

from dataclasses import dataclass

import numpy as np

from stopping.claims.claim import Claim, Control
from stopping.claims.stochastic import Excess
from stopping.model.densities import Density, laplace, mean_positive_difference, normal, uniform
from stopping.model.misspecification import LaplaceNoise
from stopping.model.noise import (
    AbstractNoise,
    GaussianNoise,
    RademacherNoise,
    UniformNoise,
)
from stopping.rules import Tolerance
from stopping.simulation.montecarlo import Relation
from stopping.theory.adaptive_average import distribution_free_bound
from stopping.theory.exact import flat_distribution, stopping_distribution
from stopping.theory.worst_drifts import drift_excess
from stopping.types import FloatArray

G = (1.1, 0.9, 0.6, 0.4, 0.1, 0.0, 0.5, 0.9)
"""One world: falls of all sizes down to `V* = 5`, two rises."""
TURNING = 5
TAU = 0.2
NOISE = UniformNoise(0.8)
K = len(G) - 1
LAW = stopping_distribution(G, NOISE, K, TAU)

UNIFORM_WORST, UNIFORM_DRIFTS = 0.1558283248, (0.6201, 0.3305, 0.2040, 0.1381, 0.0997)
NORMAL_WORST, NORMAL_DRIFTS = 0.258235, (0.9787, 0.6759, 0.5635, 0.4984, 0.4610)
"""What no drifts exceed (`averages.proved_bound`, rounded up), and drifts that come near it."""


@dataclass(frozen=True)
class Scan:
    """The tolerant search in the world `G`: its layer, its excess or its projections."""

    quantity: str
    noise: AbstractNoise = NOISE
    tau: float = TAU

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        latent = np.array(G)
        paths = np.broadcast_to(latent, (n, len(G)))
        x = paths + self.noise.sample(rng, paths, np.full(n, TURNING), 0)
        rule = Tolerance(self.tau, K)
        if self.quantity == "projections":
            return rule.projections(x).astype(np.float64)
        stop = rule.choose(x)
        if self.quantity == "excess":
            excess: FloatArray = latent[stop] - latent[TURNING]
            return excess
        return np.where(stop == int(self.quantity), 1.0, 0.0)


@dataclass(frozen=True)
class FlatGap:
    """Largest gap between quadrature and T11's closed form, for a random window and law.

    `shift` breaks the closed form: it is that of a window `shift` layers deeper.
    """

    shift: int = 0

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        gaps = np.empty(n)
        for i in range(n):
            steps = int(rng.integers(2, 8))
            laws: list[Density] = [uniform(1.0), normal(0.7), laplace(0.4)]
            law = stopping_distribution(
                np.zeros(steps + 1), [laws[rng.integers(3)]] * (steps + 1), steps
            )
            closed = flat_distribution(steps + self.shift)[: steps + 1]
            gaps[i] = np.abs(law.probability[::-1] - closed).max()
        return gaps


@dataclass(frozen=True)
class DriftExcess:
    """Exact expected excess for random drifts, half of them near the worst ones."""

    law: str
    worst: tuple[float, ...]

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        density = uniform(1.0) if self.law == "uniform" else normal(1.0)
        drifts = rng.exponential(0.6, (n, len(self.worst)))
        near = np.array(self.worst) * rng.uniform(0.9, 1.1, drifts.shape)
        drifts[: n // 2] = near[: n // 2]
        return np.array([drift_excess(row, density) for row in drifts])


CLAIMS = (
    Claim(
        "T12.distribution",
        "P(V^ = V*) by quadrature is what the simulator finds, tolerant search",
        Relation.MEAN_EQUALS,
        float(LAW.probability[TURNING]),
        Scan(str(TURNING)),
        Control("tolerance left out", Scan(str(TURNING), tau=0.0)),
        tolerance=0.005,
        tex=(
            r"$\mathbb{P}(\hat V = V^*)$ by quadrature is what the simulator finds, "
            r"tolerant search"
        ),
    ),
    Claim(
        "T12.excess",
        "expected excess by quadrature is what the simulator finds",
        Relation.MEAN_EQUALS,
        LAW.expected_excess(TURNING),
        Scan("excess"),
        Control(
            "normal noise of twice the variance", Scan("excess", GaussianNoise(0.8 * 0.667**0.5))
        ),
        tolerance=0.006,
    ),
    Claim(
        "T12.projections",
        "projections per token by quadrature are what the rule counts",
        Relation.MEAN_EQUALS,
        LAW.extra_projections,
        Scan("projections"),
        Control("tolerance left out", Scan("projections", tau=0.0)),
        tolerance=0.02,
    ),
    Claim(
        "T12.flat",
        "quadrature gives T11's distribution of a flat G to 1e-9, whatever the noise",
        Relation.ALWAYS_AT_MOST,
        1e-9,
        FlatGap(),
        Control("closed form of a window one layer deeper", FlatGap(shift=1)),
        draws=60,
        block=20,
        tex=(
            r"quadrature gives T11's distribution of a flat $G$ to $10^{-9}$, "
            r"whatever the noise"
        ),
    ),
    Claim(
        "T13.uniform",
        "uniform noise: no drifts lose more than 0.15583 eps_max on average",
        Relation.ALWAYS_AT_MOST,
        UNIFORM_WORST,
        DriftExcess("uniform", UNIFORM_DRIFTS),
        Control("bound 5% too small: one step's 4/27", bound_factor=4 / 27 / UNIFORM_WORST),
        attained=0.99 * UNIFORM_WORST,
        draws=400,
        block=100,
        tex=(
            r"uniform noise: no drifts lose more than $0.15583\,\varepsilon_{\max}$ " r"on average"
        ),
    ),
    Claim(
        "T13.normal",
        "normal noise: no drifts lose more than 0.25824 sigma on average",
        Relation.ALWAYS_AT_MOST,
        NORMAL_WORST,
        DriftExcess("normal", NORMAL_DRIFTS),
        Control("bound 5% too small", bound_factor=0.95),
        attained=0.99 * NORMAL_WORST,
        draws=400,
        block=100,
        tex=r"normal noise: no drifts lose more than $0.25824\,\sigma$ on average",
    ),
    Claim(
        "T13.any",
        "noise within eps_max, any distribution: at most eps_max / 2, attained by two points",
        Relation.MEAN_EQUALS,
        distribution_free_bound(eps_max=1.0),
        Excess((2.0 - 1e-9,), RademacherNoise(1.0)),
        Control("one fall of eps_max", Excess((1.0,), RademacherNoise(1.0))),
        tolerance=0.01,
        tex=(
            r"noise within $\varepsilon_{\max}$, any distribution: at most "
            r"$\varepsilon_{\max}/2$, attained by two points"
        ),
    ),
    Claim(
        "T13.difference",
        "i.i.d. noise of any distribution: E[excess; V^ <= V*] <= E (eps - eps')+",
        Relation.MEAN_AT_MOST,
        mean_positive_difference(laplace(1.0)),
        Excess((0.9, 0.7, 0.7), LaplaceNoise(1.0)),
        Control("noise of four times the scale", Excess((3.6, 2.8, 2.8), LaplaceNoise(4.0))),
        tex=(
            r"i.i.d. noise of any distribution: $\mathbb{E}[\operatorname{excess};\ "
            r"\hat V \le V^*] \le \mathbb{E}(\varepsilon - \varepsilon')^+$"
        ),
    ),
)
