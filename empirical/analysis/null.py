"""The paper's split of tokens, made in a world where nothing is perturbed.

The paper calls a token perturbed if its entropy rises at the final layer, and then draws the mean
entropy of both groups: one rises at `L`, the other falls. The figure shows what the groups were
chosen by, so any world in which `x[L] - x[L-1]` varies makes it. Here `V* = L` for every token: `G`
falls all the way, by gamma-distributed amounts, and the lens adds independent Gaussian noise.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from empirical.published import PERTURBED, UNPERTURBED
from stopping.model.paths import Paths
from stopping.types import FloatArray

TOKENS = 200_000
LAYERS = 11
SIGMA, SPREAD = 0.257, 1.57
"""Noise, nats, and coefficient of variation of the falls: with these two the share that rises and
its mean rise are the paper's."""
_SHARES = np.array([PERTURBED.tokens, UNPERTURBED.tokens])
_BEFORE, PUBLISHED_FINAL = (
    float(np.average(means, weights=_SHARES))
    for means in (
        (PERTURBED.before, UNPERTURBED.before),
        (PERTURBED.final, UNPERTURBED.final),
    )
)
PUBLISHED_FALL = _BEFORE - PUBLISHED_FINAL
"""Mean fall of entropy at the final layer over all of the paper's tokens, nats."""


@dataclass(frozen=True)
class Split:
    """Mean entropy by layer of the tokens that rise at the final layer, and of the others, nats."""

    share: float
    rising: FloatArray
    others: FloatArray

    @property
    def rise(self) -> float:
        """Mean rise at the final layer of those that rise."""
        return float(self.rising[-1] - self.rising[-2])

    @property
    def fall(self) -> float:
        """Mean fall at the final layer of the others."""
        return float(self.others[-2] - self.others[-1])


def split_by_sign(x: FloatArray) -> Split:
    """Split tokens `(n, layers)` by the sign of their last step, as the paper does."""
    rises = x[:, -1] > x[:, -2]
    return Split(float(rises.mean()), x[rises].mean(axis=0), x[~rises].mean(axis=0))


def unperturbed(rng: np.random.Generator, tokens: int) -> Paths:
    """Tokens that all turn at `L`: an exponential entropy there, and gamma falls down to it.

    The mean entropy at `L` and the mean of the last fall are those of all the paper's tokens.
    """
    shape = SPREAD**-2
    mean_fall = np.array([0.3] * (LAYERS - 2) + [PUBLISHED_FALL])
    falls = mean_fall * rng.gamma(shape, 1.0 / shape, (tokens, LAYERS - 1))
    above = np.cumsum(falls[:, ::-1], axis=1)[:, ::-1]
    G = rng.exponential(PUBLISHED_FINAL, (tokens, 1)) + np.pad(above, ((0, 0), (0, 1)))
    noise = rng.normal(0.0, SIGMA, G.shape)
    return Paths.from_latent(G, noise, np.full(tokens, LAYERS - 1))


@cache
def null_split(seed: int = 0, tokens: int = TOKENS) -> Split:
    """The split of `unperturbed`."""
    return split_by_sign(unperturbed(np.random.default_rng(seed), tokens).x)
