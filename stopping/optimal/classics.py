"""Stopping problems whose answers are known: what the induction is tried on.

- The **secretary problem**: `n` candidates in random order, only relative ranks are seen, stop on
  the best of all. The loss is the probability of having missed it. Optimal: let `r - 1` pass, then
  take the first that is the best so far; `r / n -> 1/e` (Gilbert and Mosteller 1966).
- **Moser's problem**: `n` independent uniform offers, one is kept, no recall. With losses, the
  least expected loss of `n` offers is `v[n] = v[n-1] - v[n-1]**2 / 2`, `v[1] = 1/2` (Moser 1956).
"""

import math

import numpy as np

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
