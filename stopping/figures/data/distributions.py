"""T11, T12 in numbers: the distribution of the stopping layer, exact and simulated."""

from dataclasses import dataclass

import numpy as np

from stopping.errors import UserError
from stopping.model.misspecification import LaplaceNoise
from stopping.model.noise import AbstractNoise, GaussianNoise, UniformNoise
from stopping.rules import Tolerance
from stopping.theory.bounds import run_bound
from stopping.theory.exact import StoppingDistribution, stopping_distribution
from stopping.types import FloatArray, IntArray

DEEPEST = 6
FALL = 0.35
"""Fall of `G` per layer in the run theorem's second world, nats."""
VALLEY = np.array([2.3, 1.7, 1.3, 1.0, 0.7, 0.4, 0.0, 2.2, 4.4])
"""`G` of the stopping distribution's world: `V*` in column 6, rises above `2 eps_max` beyond it."""
VALLEY_TURNING = 6
TAUS = (0.0, 0.5)


@dataclass(frozen=True, eq=False)
class Simulated:
    """Frequencies of events in `n` draws, with standard errors; `name` says of which world."""

    name: str
    frequency: FloatArray
    stderr: FloatArray
    n: int


@dataclass(frozen=True, eq=False)
class RunCurve:
    """T11: the probability that the search overshoots by `j` layers or more.

    Attributes
    ----------
    steps : ndarray, shape (m,)
        `j`.
    bound : ndarray, shape (m,)
        `1 / (j+1)!`.
    falling : ndarray, shape (m,)
        Exact distribution (T12) for a `G` that falls by `fall` per layer, uniform noise with
        `eps_max = 1`.
    flat_simulated : tuple of Simulated
        Flat `G`, `V* = L`, under several laws of noise: the bound with equality.
    falling_simulated : Simulated
        Draws of the world whose exact distribution is `falling`.
    fall : float
        Nats per layer.
    """

    steps: IntArray
    bound: FloatArray
    falling: FloatArray
    flat_simulated: tuple[Simulated, ...]
    falling_simulated: Simulated
    fall: float


@dataclass(frozen=True, eq=False)
class RuleDistribution:
    """The exact distribution of one rule's layer beside its simulation, both shape (layers,)."""

    exact: StoppingDistribution
    simulated: Simulated


@dataclass(frozen=True, eq=False)
class StopCurve:
    """T12: the distribution of the layer where the search stops, for each tolerance.

    Attributes
    ----------
    latent : ndarray, shape (layers,)
        `G`, nats.
    turning : int
        Column of `V*`.
    rules : tuple of RuleDistribution
        One for each tolerance; uniform noise with `eps_max = 1`.
    """

    latent: FloatArray
    turning: int
    rules: tuple[RuleDistribution, ...]


def run_curve(rng: np.random.Generator, n: int = 200_000) -> RunCurve:
    """Overshoot probabilities up to `DEEPEST` layers, for flat and falling `G`."""
    if n < 2:
        raise UserError(f"need two draws or more, got {n}")
    K = DEEPEST + 2
    steps = np.arange(DEEPEST + 1)
    noises: tuple[tuple[str, AbstractNoise], ...] = (
        ("uniform", UniformNoise(1.0)),
        ("normal", GaussianNoise(1.0)),
        ("Laplace", LaplaceNoise(1.0)),
    )
    slope = FALL * np.arange(K, -1.0, -1.0)
    exact = stopping_distribution(slope, UniformNoise(1.0), K)

    def at_least(name: str, G: FloatArray, noise: AbstractNoise) -> Simulated:
        stop = _stops(rng, G, noise, n)
        return _simulated(name, K - stop[:, None] >= steps)

    return RunCurve(
        steps=steps,
        bound=run_bound(steps),
        # The scan overshoots by j or more exactly when it reaches V* - j.
        falling=exact.reached[::-1][steps],
        flat_simulated=tuple(at_least(name, np.zeros(K + 1), noise) for name, noise in noises),
        falling_simulated=at_least("uniform", slope, UniformNoise(1.0)),
        fall=FALL,
    )


def stop_curve(rng: np.random.Generator, n: int = 200_000) -> StopCurve:
    """Compute where a rule stops in one valley, by quadrature and by simulation."""
    if n < 2:
        raise UserError(f"need two draws or more, got {n}")
    noise, layers = UniformNoise(1.0), len(VALLEY)
    rules = []
    for tau in TAUS:
        stop = _stops(rng, VALLEY, noise, n, tau)
        simulated = _simulated(f"tau = {tau:g}", stop[:, None] == np.arange(layers))
        rules.append(
            RuleDistribution(stopping_distribution(VALLEY, noise, layers - 1, tau), simulated)
        )
    return StopCurve(VALLEY, VALLEY_TURNING, tuple(rules))


def _stops(
    rng: np.random.Generator, G: FloatArray, noise: AbstractNoise, n: int, tau: float = 0.0
) -> IntArray:
    """Layers where the search stops, for `n` tokens with one `G` and the whole row as window."""
    latent = np.broadcast_to(G, (n, len(G)))
    x = latent + noise.sample(rng, latent, np.full(n, len(G) - 1), 0)
    return Tolerance(tau, len(G) - 1).choose(x)


def _simulated(name: str, happened: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Simulated:
    n = len(happened)
    frequency: FloatArray = happened.mean(axis=0)
    stderr = np.sqrt(frequency * (1.0 - frequency) / (n - 1))
    return Simulated(name, frequency, stderr, n)
