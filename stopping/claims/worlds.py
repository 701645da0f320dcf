"""Random worlds on which the deterministic claims are tried: A1-A4 hold, the noise is the worst.

The theory has one scale, so `eps_max = 1` throughout. Drifts mix flat stretches, falls much
smaller than the noise and steep ones, since the bounds are attained at the border between them.
"""

import numpy as np

from stopping.model.noise import worst_noise
from stopping.model.paths import Paths
from stopping.types import FloatArray, IntArray

LAYERS = 8
JUST = 1e-9
"""How far beyond `2 eps_max` the least rise lies: A3 is strict, floats have rounding."""


def increments(rng: np.random.Generator, n: int, layers: int = LAYERS) -> FloatArray:
    """Falls of `G` per layer, `(n, layers)`: each token with a scale of its own, some flat."""
    scale = 10.0 ** rng.uniform(-3, 1, (n, 1))
    falls = scale * rng.standard_exponential((n, layers))
    return np.where(rng.random((n, layers)) < 0.2, 0.0, falls)


def latent_worlds(
    rng: np.random.Generator, n: int, least_rise: float
) -> tuple[FloatArray, IntArray]:
    """Draw `G` with A1 and rises just above `least_rise` or well above it, and `V*`."""
    turning = rng.integers(0, LAYERS, n)
    rises = least_rise * (1 + JUST) + np.where(
        rng.random((n, LAYERS)) < 0.5, 0.0, rng.standard_exponential((n, LAYERS))
    )
    beyond = np.arange(LAYERS) > turning[:, None]
    steps = np.where(beyond, rises, -increments(rng, n))
    steps[:, 0] = 0.0
    return np.cumsum(steps, axis=1), turning


def adversarial_worlds(
    rng: np.random.Generator,
    n: int,
    *,
    dominance: float = 2.0,
    tau: float = 0.0,
    adversary_tau: float | None = None,
    l_min: int = 0,
) -> Paths:
    """Worlds with rises above `dominance * eps_max + tau`, noise worst for tolerance `tau`.

    `adversary_tau` is the tolerance that the adversary assumes, where it is not `tau`.
    """
    G, turning = latent_worlds(rng, n, dominance + tau)
    eps_max = np.ones(G.shape[1])
    noise = worst_noise(G, turning, eps_max, l_min, tau if adversary_tau is None else adversary_tau)
    return Paths.from_latent(G, noise, turning, l_min)


def independent_worlds(rng: np.random.Generator, n: int) -> Paths:
    """Worlds with A1-A4 under independent noise, one half of the tokens at its extremes."""
    G, turning = latent_worlds(rng, n, 2.0)
    noise = rng.uniform(-1.0, 1.0, G.shape)
    noise = np.where(rng.random((n, 1)) < 0.5, np.sign(noise), noise)
    return Paths.from_latent(G, noise, turning)


def unstructured_worlds(rng: np.random.Generator, n: int) -> Paths:
    """Tokens of no shape at all with worst noise for the final layer: A2 alone (T4).

    The turning point is put at `L`, so that the adversary maximises `G[V^] - G[L]`.
    """
    scale = 10.0 ** rng.uniform(-3, 1, (n, 1))
    G = np.cumsum(scale * rng.standard_normal((n, LAYERS)), axis=1)
    turning = np.full(n, LAYERS - 1)
    return Paths.from_latent(G, worst_noise(G, turning, np.ones(LAYERS), 0), turning)
