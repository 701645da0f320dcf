r"""T13 for uniform noise, exactly: a recursion in exact arithmetic.

Noise uniform on `[-eps_max, eps_max]`, `V* = L`, falls `gamma[1], ..., gamma[J] >= 0` below it, and
`Gamma[j]` the fall after `j` steps.

**Theorem (reach).** With `u[j] = (1 - Gamma[j] / (2 eps_max))+`, the search reaches `V* - j` with
probability `u[j]^(j+1) / (j+1)!`.
*Proof.* It does if and only if the values `eps[i] + Gamma[i]`, i = 0..j, fall strictly. Then all
lie between the least value of the last, `Gamma[j] - eps_max`, and the greatest of the first,
`eps_max`, and within these limits each may lie anywhere, since `Gamma` does not fall. So it is an
ordered sample of `j + 1` points in an interval of length `2 eps_max u[j]`.  QED

Hence `E excess = 2 eps_max sum_j (u[j-1] - u[j]) u[j]^(j+1) / (j+1)!`, `u[0] = 1 >= u[1] >= ...`,
and `C_J` is its maximum: a dynamic programme in one dimension.

**Theorem (one maximiser).** For each `u[j-1]` in `(0, 1]` there is exactly one best `u[j]`, the
solution of `u[j-1] = h_j(u[j])`, where, with `u''` the best next point and `u''= 0` for `j = J`,

    h_j(u) = u (j+2)/(j+1) - u''^(j+2) u^(-j) / ((j+1)(j+2)).

*Proof.* Backwards from `j = J`. The value to go has derivative `u''^(j+2) / (j+2)!` in `u`
(envelope), so the derivative of the objective in `u[j]` is `u^j / j!` times `u[j-1] - h_j(u)`. Let
`r = u''/u <= 1`, and let `u''` have slope at most 1. The second term of `h_j` has slope at most
`((j+2) r^(j+1) - j r^(j+2)) u / ((j+1)(j+2)) <= 2 / ((j+1)(j+2))`, as the bracket grows with `r`.
So `h_j` has slope at least 1, and `h_j(0) = 0`: it has an inverse on `(0, 1]`, of slope at most 1,
and the objective rises before it and falls after it.  QED

So the whole sequence is an increasing function of `u[J]`, and that is found by bisection
(*shooting*): `u[0]` must be 1. As `h_j(u) >= u (j+3)/(j+2)`, also `u[J] <= 3/(J+3)`.

**Theorem (deep windows).** `C_J <= C <= C_J + 2 eps_max (3/(J+3))^(J+3) / ((J+3) (J+2)!)`.
*Proof.* For `N > J` the maximiser of `C_N` has `u[J] <= 3/(J+3)` too. Its terms beyond `J` are at
most `2 eps_max (u[j-1] - u[j]) u[j]^(J+2) / (J+2)!` each, a lower sum of the integral of
`v^(J+2) / (J+2)!` from 0 to `u[J]`; those up to `J` are at most `C_J`.  QED

The arithmetic is that of whole numbers, rounded outwards: the bracket is a proof.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from stopping.errors import UserError

BITS = 160
"""Binary places that are kept; a rounding is outwards, so it widens the bracket and no more."""


@dataclass(frozen=True)
class UniformAverage:
    """T13's constant for uniform noise, in units of `eps_max`, between two exact numbers.

    Attributes
    ----------
    layers_below : int
        `J`.
    lower : Fraction
        At most `C_J`, hence at most `C`.
    upper : Fraction
        At least `C`, windows of any depth included.
    falls : tuple of float
        The maximising falls of `C_J`, the step from `V*` first.
    """

    layers_below: int
    lower: Fraction
    upper: Fraction
    falls: tuple[float, ...]


@lru_cache
def uniform_average(layers_below: int = 12) -> UniformAverage:
    """Bracket `C / eps_max` for uniform noise with `J = layers_below`.

    Raises
    ------
    UserError
        If `layers_below < 1`.
    """
    J = layers_below
    if J < 1:
        raise UserError(f"layers_below: must be at least 1, got {J}")
    low, high = Fraction(0), Fraction(3, J + 3)
    # Each bisection halves the bracket; it ends where rounding no longer tells u[0] from 1.
    while True:
        middle = (low + high) / 2
        first = _shoot(middle, J)[0]
        if first[1] < 1:
            low = middle
        elif first[0] > 1:
            high = middle
        else:
            break
    below, above = _shoot(low, J), _shoot(high, J)
    least = [Fraction(1), *(pair[0] for pair in below[1:])]
    most = [Fraction(1), *(pair[1] for pair in above[1:])]
    tail = 2 * Fraction(3, J + 3) ** (J + 3) / ((J + 3) * math.factorial(J + 2))
    return UniformAverage(
        layers_below=J,
        lower=_total(least, most, least),
        upper=_total(most, least, most) + tail,
        falls=tuple(float(2 * (most[j] - most[j + 1])) for j in range(J)),
    )


def _shoot(last: Fraction, J: int) -> list[tuple[Fraction, Fraction]]:
    """Enclose `u[0], ..., u[J]` of the stationary sequence with `u[J] = last`."""
    pairs = [(last, last)]
    after = (Fraction(0), Fraction(0))
    for j in range(J, 0, -1):
        low, high = pairs[-1]
        own, further = Fraction(j + 2, j + 1), Fraction(1, (j + 1) * (j + 2))
        pairs.append(
            (
                _down(low * own - after[1] ** (j + 2) / low**j * further),
                _up(high * own - after[0] ** (j + 2) / high**j * further),
            )
        )
        after = (low, high)
    return pairs[::-1]


def _total(
    before: Sequence[Fraction], own: Sequence[Fraction], power: Sequence[Fraction]
) -> Fraction:
    """`2 sum (u[j-1] - u[j]) u[j]^(j+1) / (j+1)!` with each place's end of the bracket."""
    return 2 * sum(
        (
            (before[j - 1] - own[j]) * power[j] ** (j + 1) / math.factorial(j + 1)
            for j in range(1, len(own))
        ),
        Fraction(0),
    )


def _down(value: Fraction) -> Fraction:
    return Fraction(math.floor(value * 2**BITS), 2**BITS)


def _up(value: Fraction) -> Fraction:
    return Fraction(math.ceil(value * 2**BITS), 2**BITS)
