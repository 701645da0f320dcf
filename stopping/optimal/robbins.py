"""Robbins' problem: the least expected rank when the offers themselves are seen, `n <= 4`.

`n` independent uniform numbers are seen one by one and one is kept, without recall; the loss is its
rank among all `n`, 1 for the least. Stopping at the `k`-th costs what is known of its rank,

    1 + #{j < k: x[j] < x[k]} + (n - k) x[k],

so the whole past counts, and no solution is known beyond `n = 4` (Bruss 2005; Dendievel and Swan
2016). Until there the last two steps are integrals of polynomials. With a past `p`, and `x` passed
as well, the last offer has the mean rank `S(p) - x`, `S(p) = 2 + sum_j (1 - p[j])`, so with two
offers left the least expected rank is

    h(p) = int_0^1 min(1 + #{p < x} + x, S(p) - x) dx.

Between two offers of the past the first function rises and the second falls: their crossing is
known, and `h` is piecewise quadratic.

*The bracket.* The first offer `x` costs `1 + (n-1) x` if kept, which rises, and `h1(x)` if not,
which falls: whoever has passed a larger offer can do what he would have done after a smaller one,
and has a rank no worse. So the value is the integral of the one below their crossing and of the
other above, and sums of `h1` at either end of each cell lie on either side of its integral.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stopping.errors import UserError
from stopping.types import FloatArray

_STEPS = 60
"""Bisections: to the last bit."""


@dataclass(frozen=True)
class RankBracket:
    """The least expected rank lies in `[low, high]`; the first offer is kept up to `first`."""

    low: float
    high: float
    first: float


def robbins(n: int, cells: int = 10_000) -> RankBracket:
    """Least expected rank of Robbins' problem with `n` offers.

    Raises
    ------
    UserError
        If `n` does not lie in [1, 4].
    """
    if not 1 <= n <= 4:
        raise UserError(f"Robbins' problem: solved for n from 1 to 4, got {n}")
    if n == 1:
        return RankBracket(1.0, 1.0, 1.0)
    first = float(_crossing(n - 1, 1.0, lambda x: after_first(n, x), np.zeros(1), np.ones(1))[0])
    kept = first + (n - 1) * first**2 / 2
    passed = after_first(n, np.linspace(first, 1.0, cells + 1))
    width = (1.0 - first) / cells
    low, high = kept + passed[1:].sum() * width, kept + passed[:-1].sum() * width
    return RankBracket(float(low), float(high), first)


def after_first(n: int, x: FloatArray) -> FloatArray:
    """`h1`, the least expected rank of `n` offers (2 to 4) after passing `x`, shape of `x`."""
    if n == 2:
        return 2 - x
    return last_two(x[:, None]) if n == 3 else _last_three(x)


def last_two(past: FloatArray) -> FloatArray:
    """`h`, with two offers left, after pasts `(m, k)`, shape (m,)."""
    m, k = past.shape
    total = 2 + k - past.sum(axis=1)
    edges = np.column_stack([np.zeros(m), np.sort(past, axis=1), np.ones(m)])
    value = np.zeros(m)
    for passed in range(k + 1):
        low, high = edges[:, passed], edges[:, passed + 1]
        border = np.clip((total - 1 - passed) / 2, low, high)
        value += (1 + passed) * (border - low) + (border**2 - low**2) / 2
        value += total * (high - border) - (high**2 - border**2) / 2
    return value


def _last_three(a: FloatArray) -> FloatArray:
    """`h1` of `n = 4`: integral of `min(1 + 1{a < x} + 2 x, h(a, x))`, exact but for rounding.

    `h` is quadratic in `x` between the points where a crossing inside it meets an offer of the
    past; on each such piece, cut where stopping begins to cost more, Simpson's rule is exact.
    """

    def ahead(x: FloatArray) -> FloatArray:
        return last_two(np.column_stack([a, x]))

    zero, one = np.zeros_like(a), np.ones_like(a)
    below = _crossing(2, 1.0, ahead, zero, a)
    above = _crossing(2, 2.0, ahead, a, one)
    kinks = [j - 3 * a for j in (1, 2, 3)] + [(j - a) / 3 for j in (1, 2, 3)]
    inside = np.column_stack([zero, one, a, below, above, *kinks])
    edges = np.sort(np.clip(inside, 0.0, 1.0), axis=1)
    value = np.zeros_like(a)
    for low, high in zip(edges.T, edges.T[1:], strict=False):
        middle = (low + high) / 2
        parts = np.zeros_like(a)
        for x, weight in ((low, 1), (middle, 4), (high, 1)):
            stopping = 1 + (middle > a) + 2 * x
            parts = parts + weight * np.where(_stops(middle, a, below, above), stopping, ahead(x))
        value += parts * (high - low) / 6
    return value


def _stops(x: FloatArray, a: FloatArray, below: FloatArray, above: FloatArray) -> FloatArray:
    stops: FloatArray = np.where(x < a, x < below, x < above)
    return stops


def _crossing(
    slope: float,
    constant: float,
    falling: Callable[[FloatArray], FloatArray],
    low: FloatArray,
    high: FloatArray,
) -> FloatArray:
    """Where `constant + slope x` first exceeds a falling function in `[low, high]`."""
    low, high = low.copy(), high.copy()
    for _ in range(_STEPS):
        middle = (low + high) / 2
        under = constant + slope * middle <= falling(middle)
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return (low + high) / 2
