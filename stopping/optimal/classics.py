"""Stopping problems whose answers are known: what the induction is tried on.

- The **secretary problem**: `n` candidates in random order, only relative ranks are seen, stop on
  the best of all. The loss is the probability of having missed it. Optimal: let `r - 1` pass, then
  take the first that is the best so far; `r / n -> 1/e` (Gilbert and Mosteller 1966).
- **Moser's problem**: `n` independent uniform offers, one is kept, no recall. With losses, the
  least expected loss of `n` offers is `v[n] = v[n-1] - v[n-1]**2 / 2`, `v[1] = 1/2` (Moser 1956).
- **Expected rank**: as the secretary problem, but the loss is the rank of the one chosen among all
  `n`; the least expected rank tends to 3.8695 (Chow, Moriguti, Robbins and Samuels 1964).
- **Best choice with full information**: offers are seen, the best of all is wanted; the chance of
  getting it tends to 0.580164 (Gilbert and Mosteller 1966; Samuels 1982).

`prophets` compares stopping with hindsight, `robbins` has the expected rank when offers are seen.
"""

import math
from fractions import Fraction

import numpy as np
from scipy.optimize import brentq
from scipy.special import exp1, expi

from stopping.errors import UserError
from stopping.optimal.chain import Chain


def secretary(n: int) -> Chain:
    """The secretary problem with `n` candidates; state 1: the present one is the best so far.

    Relative ranks are independent, so the chain forgets: candidate `k` is the best so far with
    probability `1/k`, and then the best of all with probability `k/n`. At the end one must stop,
    candidate or not.
    """
    if n < 1:
        raise UserError(f"secretary: needs a candidate at least, got {n}")
    kernels = tuple(np.tile([1 - 1 / k, 1 / k], (2, 1)) for k in range(2, n + 1))
    losses = tuple(np.array([1.0, 1.0 - k / n]) for k in range(1, n + 1))
    return Chain(np.array([0.0, 1.0]), kernels, losses)


def secretary_success(n: int, r: int) -> float:
    """Chance to get the best of `n` by letting `r - 1` pass: `(r-1)/n sum 1/(k-1)`, `1/n` at 1."""
    if not 1 <= r <= n:
        raise UserError(f"secretary: r must lie in [1, {n}], got {r}")
    if r == 1:
        return 1.0 / n
    return (r - 1) / n * math.fsum(1.0 / (k - 1) for k in range(r, n + 1))


def moser(n: int, points: int) -> Chain:
    """Moser's problem with `n` offers, uniform on the midpoints of `points` cells of [0, 1]."""
    offers = (np.arange(points) + 0.5) / points
    law = np.full(points, 1.0 / points)
    return Chain(law, (np.tile(law, (points, 1)),) * (n - 1), (offers,) * n)


def moser_value(n: int) -> float:
    """Least expected loss of Moser's problem with `n` continuous uniform offers."""
    value = 0.5
    for _ in range(n - 1):
        value -= value**2 / 2
    return value


def expected_rank(n: int) -> Fraction:
    """Least expected rank of the one chosen among `n` candidates, exactly.

    With relative rank `j` of `k` the expected rank is `(n + 1) / (k + 1) j`, and `j` is uniform, so
    `v[k-1]` is the mean of `min((n + 1) / (k + 1) j, v[k])`, `v[n-1] = (n + 1) / 2`; the value is
    `v[0]`.
    """
    if n < 1:
        raise UserError(f"expected rank: needs a candidate at least, got {n}")
    value = Fraction(n + 1, 2)
    for k in range(n - 1, 0, -1):
        slope = Fraction(n + 1, k + 1)
        taken = min(k, math.floor(value / slope))
        value = (slope * Fraction(taken * (taken + 1), 2) + (k - taken) * value) / k
    return value


def expected_rank_limit(terms: int = 100_000) -> float:
    """Limit of `expected_rank`: the product of `((j + 2) / j) ** (1 / (j + 1))`, 3.8695.

    The logarithms fall as `2 / j**2`, so those left out add up to about `2 / terms`.
    """
    logs = (math.log1p(2 / j) / (j + 1) for j in range(1, terms + 1))
    return math.exp(math.fsum(logs) + 2 / (terms + 1.5))


def full_information_limit() -> float:
    """Chance of the best of many offers of a known distribution, 0.580164.

    `exp(-c) + (exp(c) - c - 1) E_1(c)` where `c = 0.804352` solves `sum_j c**j / (j! j) = 1`, the
    sum being `Ei(c) - log c - gamma`.
    """
    c = brentq(lambda c: expi(c) - math.log(c) - np.euler_gamma - 1.0, 0.1, 2.0, xtol=1e-14)
    return math.exp(-c) + (math.exp(c) - c - 1) * float(exp1(c))
