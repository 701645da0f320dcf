"""T2 and T5 in numbers: how much of each bound the worst noise attains.

Tokens have constant drift `gamma` per layer below `V*` and `eps_max = 1`. The adversary is exact
(`stopping.model.noise.worst_noise`), so *attained* is a maximum over noise, not over draws.
"""

from dataclasses import dataclass

import numpy as np

from stopping.errors import UserError
from stopping.model.noise import (
    AbstractNoise,
    AdversarialNoise,
    UniformNoise,
    worst_noise,
)
from stopping.model.paths import Paths
from stopping.rules import Search, Tolerance
from stopping.theory.bounds import excess_bound, tolerance_bound
from stopping.types import FloatArray, IntArray

# Up to each 2/j and just beyond it: there the adversary has to make do with one step less.
_JUMPS = 2.0 / np.arange(1, 10)
DRIFTS = np.sort(np.concatenate([np.linspace(0.02, 2.4, 120), _JUMPS * (1 - 1e-9), _JUMPS]))
TOLERANCES = np.linspace(0.0, 2.5, 26)
RISES = np.linspace(0.02, 5.0, 250)
K = 9


@dataclass(frozen=True, eq=False)
class ExcessCurve:
    """T2: the worst excess for each drift, as a share of `2 eps_max`.

    Attributes
    ----------
    drift : ndarray, shape (m,)
        `gamma / eps_max`.
    adversarial : ndarray, shape (m,)
        The most that any admissible noise brings about.
    uniform, mean : ndarray, shape (m,)
        The largest and the mean of `tokens` draws of uniform noise.
    tokens, K : int
        Draws per drift, and steps back that the window allows.
    """

    drift: FloatArray
    adversarial: FloatArray
    uniform: FloatArray
    mean: FloatArray
    tokens: int
    K: int


@dataclass(frozen=True, eq=False)
class ToleranceCurve:
    """T5: what a tolerance buys and what it asks for, in units of `eps_max`.

    Attributes
    ----------
    tau : ndarray, shape (m,)
    bound : ndarray, shape (m,)
        T5's bound on the excess, `2 eps_max - tau`, or 0 where no step past `V*` is possible.
    attained : ndarray, shape (m,)
        The most that the adversary brings about, over all drifts of `DRIFTS`.
    required : ndarray, shape (m,)
        The rise per layer above which the search cannot stop above `V*`: `2 eps_max + tau`.
    refuted : ndarray, shape (m,)
        The largest rise of `RISES` for which the adversary makes it stop above `V*`.
    """

    tau: FloatArray
    bound: FloatArray
    attained: FloatArray
    required: FloatArray
    refuted: FloatArray


def excess_curve(rng: np.random.Generator, tokens: int = 4_000) -> ExcessCurve:
    """Measure the worst excess against T2's bound, for `tokens` draws per drift with `V* = L`."""
    if tokens < 1:
        raise UserError(f"need tokens >= 1, got {tokens}")

    def excess(noise: AbstractNoise, n: int) -> FloatArray:
        """Share of `2 eps_max`, shape (m, n)."""
        G = np.repeat(_slopes(), n, axis=0)
        turning = np.full(len(G), K)
        paths = Paths.from_latent(G, noise.sample(rng, G, turning, 0), turning)
        return paths.excess(Search(K).choose(paths.x)).reshape(-1, n) / float(excess_bound(1.0))

    uniform = excess(UniformNoise(1.0), tokens)
    return ExcessCurve(
        drift=DRIFTS,
        adversarial=excess(AdversarialNoise(1.0), 1)[:, 0],
        uniform=uniform.max(axis=1),
        mean=uniform.mean(axis=1),
        tokens=tokens,
        K=K,
    )


def tolerance_curve(tau: FloatArray = TOLERANCES) -> ToleranceCurve:
    """Measure T5's two sides at each tolerance, against the adversary who knows it."""
    if (tau < 0).any():
        raise UserError(f"need tolerances >= 0, got {tau}")
    slopes = _slopes()
    # One layer above V* and one below: the fewest that can tell a stop above V* from one at it.
    valleys = np.stack([np.full_like(RISES, 10.0), np.zeros_like(RISES), RISES], axis=1)

    attained, refuted = np.empty(len(tau)), np.empty(len(tau))
    for i, tolerance in enumerate(map(float, tau)):
        paths, layer = _attacked(slopes, K, tolerance)
        attained[i] = paths.excess(layer).max()
        _, layer = _attacked(valleys, 1, tolerance)
        refuted[i] = RISES[layer > 1].max(initial=0.0)
    return ToleranceCurve(
        tau=tau,
        bound=np.maximum(tolerance_bound(1.0, tau, 1), 0.0),
        attained=attained,
        required=2.0 + tau,
        refuted=refuted,
    )


def _attacked(G: FloatArray, turning: int, tau: float) -> tuple[Paths, IntArray]:
    """Worlds under the noise that is worst for the tolerant search, and where that one stops."""
    at = np.full(len(G), turning)
    paths = Paths.from_latent(G, worst_noise(G, at, np.ones(G.shape[1]), 0, tau), at)
    return paths, Tolerance(tau, paths.K).choose(paths.x)


def _slopes() -> FloatArray:
    """`G` that falls by each drift per layer over `K` steps down to 0 at `L`."""
    G: FloatArray = DRIFTS[:, None] * np.arange(K, -1.0, -1.0)
    return G
