"""Prophet inequalities: what stopping gets of what the best offer in hindsight gives. Rewards here.

Offers are independent, nonnegative and seen one by one; their distributions are known. With `V` the
value of stopping and `M` the mean of the largest offer,

- `M < 2 V` for any distributions (Krengel, Sucheston and Garling 1978), and no smaller number will
  do: a certain 1, then `1/p` with probability `p`, have `V = 1` and `M = 2 - p`;
- `M <= V / r[n]` for `n` offers of one distribution, `r[n]` falling to 0.745 (Hill and Kertz 1982;
  Correa et al. 2017), and no larger `r[n]` will do.

**The second, both ways.** Let `R(q)` be the mean of an offer times the indicator that it is among
the best share `q`: any concave function from `R(0) = 0`. Then

    M = int_0^1 n (n-1) (1-q)^(n-2) R(q) dq,    v[k] = max_q (R(q) + (1-q) v[k-1]),  V = v[n].

*Guarantee.* Cut `[0, 1]` at `0 = e[0] < .. < e[n] = 1`, and at step `i` accept the best share `q`
of offers, `q` drawn in `[e[i-1], e[i]]` with density as `(1-q)^(n-2)`. If each piece counts in the
rule's mean as often as in `M` (up to one factor `r`), the rule gets `r M` whatever `R`. With
`y[i] = (1-e[i])^(n-1)` that is

    y[i+1] = y[1] - (1 - 1/n) (1 - y[i]^(n/(n-1))),   y[n] = 0,   r[n] = 1 / (n (1 - y[1])).

*Example.* `R(q) <= v[k] - (1-q) v[k-1]` for each `k`, with equality on the `k`-th piece from the
end if the increments of `v` fall as `v[k+1] - v[k] = (1 - e[n-k]) (v[k] - v[k-1])`. This `R` is
concave, so some offers have it: `v[k-1]` with the probability of the piece, and a rare large one.
For them `M = V / r[n]`.
"""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from scipy.optimize import brentq

from stopping.errors import UserError

Number: TypeAlias = "float | Fraction"
Offer: TypeAlias = Sequence[tuple[Number, Number]]
"""Values and their probabilities."""


def stopping_and_prophet(offers: Sequence[Offer]) -> tuple[Number, Number]:
    """Values of stopping and of hindsight; exact if all numbers are fractions.

    Raises
    ------
    UserError
        If there is no offer, a value is negative or not finite, or probabilities do not add up.
    """
    _require_offers(offers)
    value: Number = Fraction(0)
    for offer in reversed(offers):
        value = sum((p * max(x, value) for x, p in offer), Fraction(0))
    best: Number = Fraction(0)
    values = sorted({x for offer in offers for x, p in offer if p > 0} | {Fraction(0)})
    for lower, upper in itertools.pairwise(values):
        below: Number = Fraction(1)
        for offer in offers:
            below *= sum((p for x, p in offer if x <= lower), Fraction(0))
        best += (upper - lower) * (1 - below)
    return value, best


def extremal_pair(rare: Fraction) -> list[Offer]:
    """Two offers of which the prophet gets `2 - rare` times as much as stopping.

    A certain 1, then `1 / rare` with probability `rare`.
    """
    if not 0 < rare <= 1:
        raise UserError(f"prophet: a probability in (0, 1] is needed, got {rare}")
    one = Fraction(1)
    return [[(one, one)], [(one / rare, rare), (Fraction(0), one - rare)]]


def prophet_share(n: int) -> float:
    """Return `r[n]`, what stopping gets of the prophet's mean from any `n` offers of one kind."""
    return 1.0 if n == 1 else 1.0 / (n * (1.0 - _levels(n)[1]))


def extremal_offer(n: int, rare: float) -> Offer:
    """Distribution of `n` offers of which stopping gets `r[n]` and no more, as `rare` falls to 0.

    A share `rare` of the best piece is one large offer; see the module.
    """
    if not 0 < rare < 1:
        raise UserError(f"prophet: a probability in (0, 1) is needed, got {rare}")
    if n == 1:
        return [(1.0, 1.0)]
    kept = _levels(n) ** (1 / (n - 1))  # 1 - e[i]
    increments = np.cumprod([1.0, *kept[n - 1 : 0 : -1]])  # v[k] - v[k-1], k = 1, ..
    values = np.concatenate([[0.0], np.cumsum(increments)])  # v[0], .., v[n]
    pieces = -np.diff(kept)  # of steps i = 1, ..
    # Step i is the (n - i + 1)-th from the end, where an offer is worth v[n-i].
    large = rare * pieces[0]
    offer = [(float(values[n - 1] + increments[-1] / large), float(large))]
    pieces[0] -= large
    offer += [(float(values[n - 1 - i]), float(piece)) for i, piece in enumerate(pieces)]
    return offer


def prophet_constant(cells: int = 200_000) -> tuple[float, float]:
    """Bracket of the limit of `r[n]`, 0.745.

    As `n` grows the levels become the solution of `y' = y (log y - 1) - b + 1` from 1 at time 0 to
    0 at time 1, where `b = 1 / r`: that is, `int_0^1 dy / (y (1 - log y) + b - 1) = 1`. The
    integrand falls in `y`, so sums of its values at either end of each cell lie on either side.
    """
    y = np.linspace(0.0, 1.0, cells + 1)
    shape = y * (1 - np.log(np.where(y > 0, y, 1.0)))

    def excess(b: float, end: slice) -> float:
        return float(np.mean(1 / (shape[end] + b - 1))) - 1.0

    ends = slice(1, None), slice(None, -1)  # sums too small, too large
    low, high = (float(brentq(excess, 1.01, 2.0, args=(end,), xtol=1e-13)) for end in ends)
    return 1 / high, 1 / low


def _levels(n: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """`y[0] = 1, .., y[n] = 0`."""
    if n < 2:
        raise UserError(f"prophet: needs an offer at least, got {n}")

    def path(first: float) -> list[float]:
        levels = [1.0, first]
        for _ in range(n - 1):
            before = max(levels[-1], 0.0) ** (n / (n - 1))
            levels.append(first - (1 - 1 / n) * (1 - before))
        return levels

    # At 0 the last level is negative, at 1 it is positive, and it rises in between.
    first = brentq(lambda y: path(y)[-1], 0.0, 1.0, xtol=1e-15)
    return np.array([*path(first)[:-1], 0.0])


def _require_offers(offers: Sequence[Offer]) -> None:
    if not offers:
        raise UserError("prophet: needs an offer at least")
    for k, offer in enumerate(offers):
        if not all(math.isfinite(x) and x >= 0 for x, _ in offer):
            raise UserError(f"prophet: offer {k} has a value that is negative or not finite")
        total = float(sum((p for _, p in offer), Fraction(0)))
        if any(p < 0 for _, p in offer) or not math.isclose(total, 1.0, abs_tol=1e-9):
            raise UserError(f"prophet: probabilities of offer {k} do not add up to 1")
