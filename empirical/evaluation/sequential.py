"""A paired comparison that may be looked at after every problem, and stops when it is decided.

Of the problems that only one of two decoders solves, let each be `fixed` (the rule alone) with a
probability of at most 1/2, given all before: the rule is no better. Betting on `fixed` with a share
that is drawn from a Beta prior on (1/2, 1) multiplies a gambler's wealth, after `f` fixed and `r`
regressed problems, to

    W(f, r) = integral over p in (1/2, 1) of  (2 p)^f (2 (1 - p))^r  prior(p),

a nonnegative supermartingale that begins at 1. It ever reaches `2 / error` with probability
`error / 2` at most (Ville), and so does its mirror image against "the rule is no worse". Deciding
at that, after any problem, errs with probability `error` at most; a binomial test that is looked at
over and over errs more often, since each look is another chance to be fooled.

Problems are answered in a random order: sorted ones would let a look see the short prompts alone.
They are the unit, also where they have groups: what is decided holds for more problems of the same
groups (the built-in templates), not for other groups.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from stopping.types import BoolArray, FloatArray, IntArray

PRIOR = 1.0
"""Both parameters of the Beta prior: uniform."""
POWER = 0.8


@dataclass(frozen=True)
class Anytime:
    """What a comparison that stops when decided found.

    Attributes
    ----------
    p_value : float
        Valid whenever one stops; adjusted for the number of rules.
    offered : int
        Problems that could have been asked.
    fixed_size : float
        Problems that McNemar's test of a size fixed beforehand needs for a power of 80 % at the
        rates seen and the same error (Connor 1987); NaN where both decoders solve as many.
    """

    p_value: float
    offered: int
    fixed_size: float


def drawn_order(n: int, seed: int) -> IntArray:
    """Order in which `n` problems are answered."""
    return np.random.default_rng([seed, n]).permutation(n)


def log_evidence(fixed: FloatArray, regressed: FloatArray) -> FloatArray:
    """Logarithm of the wealth won by betting that the rule solves more, any shape."""
    a, b = fixed + PRIOR, regressed + PRIOR
    upper = special.betainc(b, a, 0.5)  # P(p > 1/2) under Beta(a, b)
    with np.errstate(divide="ignore"):
        found = (
            (fixed + regressed + 1) * math.log(2)
            + special.betaln(a, b)
            - special.betaln(PRIOR, PRIOR)
            + np.log(upper)
        )
    return np.asarray(found, dtype=np.float64)


def anytime_p_value(fixed: BoolArray, regressed: BoolArray) -> float:
    """Two-sided p-value of "both solve as many", valid at any stopping time.

    Parameters
    ----------
    fixed, regressed : ndarray of bool, shape (n,)
        Whether each problem was solved by the rule alone, or by plain decoding alone, in the order
        in which they were answered.
    """
    up, down = fixed.cumsum().astype(np.float64), regressed.cumsum().astype(np.float64)
    most = max(0.0, *log_evidence(up, down).tolist(), *log_evidence(down, up).tolist())
    return min(1.0, 2 * math.exp(-most))


def fixed_size(fixed: float, regressed: float, error: float) -> float:
    """Problems that McNemar's test needs at these rates for a power of 80 % (Connor 1987)."""
    difference, either = abs(fixed - regressed), fixed + regressed
    if difference == 0:
        return math.nan
    level, power = -special.ndtri(error / 2), special.ndtri(POWER)
    spread = math.sqrt(max(0.0, either - difference**2))
    return float(math.ceil(((level * math.sqrt(either) + power * spread) / difference) ** 2))


def anytime(rule: ArrayLike, plain: ArrayLike, rules: int, offered: int, error: float) -> Anytime:
    """Compare who solved which problems, in the order in which they were answered."""
    a, b = np.asarray(rule, dtype=np.bool_), np.asarray(plain, dtype=np.bool_)
    fixed, regressed = a & ~b, ~a & b
    return Anytime(
        p_value=min(1.0, rules * anytime_p_value(fixed, regressed)),
        offered=offered,
        fixed_size=fixed_size(float(fixed.mean()), float(regressed.mean()), error / rules),
    )
