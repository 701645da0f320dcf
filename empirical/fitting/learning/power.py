"""How many tokens would show a gain of a given size.

Let the difference per token of a rule to the final layer have, as a mean over prompts, the standard
deviation `s` from prompt to prompt. A gain of `d` nats is found with probability 0.8 at the
two-sided 5 % level by

    prompts = ((1.960 + 0.842) s / d)^2,      tokens = prompts times their mean length.

`s` is that of the regression that moves most, without a margin: a rule that gains must move, and
one that moves as often varies as much. A rule that hardly moves needs fewer tokens, but has little
to gain.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from stopping.types import FloatArray, IntArray

SIZES = (0.005, 0.01, 0.02, 0.05)
"""Gains, nats, of which the power is asked."""
POWER = 0.8


@dataclass(frozen=True)
class Needed:
    """Tokens that would show a gain of `size` nats with probability 0.8, and their prompts."""

    size: float
    prompts: int
    tokens: int


def power(difference: FloatArray, prompt: IntArray) -> tuple[Needed, ...]:
    """Tokens needed to find gains of `SIZES`, given differences per token, (n,), and prompts.

    The variance is that of the ratio estimator: residuals of the prompts' sums around the mean.
    """
    _, index = np.unique(prompt, return_inverse=True)
    sums = np.bincount(index, difference)
    lengths = np.bincount(index).astype(np.float64)
    residual = sums - difference.mean() * lengths
    spread = float(np.sqrt((residual**2).sum() / (len(sums) - 1))) / lengths.mean()
    z = float(ndtri(0.975) + ndtri(POWER))
    found = []
    for size in SIZES:
        prompts = max(2, math.ceil((z * spread / size) ** 2))
        found.append(Needed(size, prompts, math.ceil(prompts * lengths.mean())))
    return tuple(found)
