"""Bets against a mean: evidence that it lies below a level, whatever the distribution.

Let `X_1, X_2, ...` be exchangeable, at most `upper`, and suppose that their mean is `level` or
more. Then `Y = (upper - X) / (upper - level)` is never negative, with a mean of at most 1, so that
whoever stakes a share `k` of all he owns on each `Y` plays an unfavourable game: his wealth

    prod (1 + k (Y_i - 1)),     0 <= k <= 1,

is a nonnegative supermartingale, and so is a mean of such wealths over several `k`. By Ville's
inequality it ever reaches `1 / delta` with probability `delta` at most. Where it does, "the mean is
below `level`" is said with an error of at most `delta`, for any number of values, however long one
looks (Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables by betting).
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.types import FloatArray

STAKES = tuple(float(2.0**-j) for j in range(7))
"""Shares that are bet side by side: a small one is best where values vary much."""


def log_wealth(values: ArrayLike, upper: float, level: float) -> FloatArray:
    """Logarithm of the wealth after each value.

    Parameters
    ----------
    values : array_like, shape (n,) or (n, m)
        Exchangeable values along the first axis, none above `upper`; `m` samples side by side.
    upper : float
        Largest possible value, above `level`.
    level : float
        The mean that is bet against.

    Returns
    -------
    ndarray, shape as `values`

    Raises
    ------
    UserError
        If a value is NaN or above `upper`, or the level is not below it.
    """
    x = np.asarray(values, dtype=np.float64)
    if not level < upper:
        raise UserError(f"a bet needs a level below the largest value {upper:g}, got {level:g}")
    # Rounding of a value that equals its bound.
    excess = x - upper
    if not (excess <= 1e-9 * max(1.0, abs(upper))).all():
        raise UserError(f"values: NaN, or above {upper:g}, the largest that was stated")
    ratio = np.maximum(-excess, 0.0) / (upper - level)
    with np.errstate(divide="ignore"):  # all is lost at a stake of 1 and a value of `upper`
        each = [np.log1p(k * (ratio - 1)).cumsum(axis=0) for k in STAKES]
    wealth: FloatArray = np.logaddexp.reduce(each, axis=0) - math.log(len(STAKES))
    return wealth


def p_value(values: ArrayLike, upper: float, level: float) -> float:
    """Valid p-value of "the mean is `level` or more", shape (n,): 1 over the most ever owned."""
    if len(np.asarray(values)) == 0:
        return 1.0
    return min(1.0, math.exp(-min(700.0, float(log_wealth(values, upper, level).max()))))


def values_needed(upper: float, level: float, delta: float, value: float = 0.0) -> int:
    """Return how many values are needed at least for an error of `delta`, if all equal `value`.

    Raises
    ------
    UserError
        If no number would do: `value` is not below `level`.
    """
    if not value < level:
        raise UserError(f"values of {value:g} are no evidence of a mean below {level:g}")
    ratio = (upper - value) / (upper - level)
    gains = np.log1p(np.multiply(STAKES, ratio - 1))

    def reached(n: int) -> bool:
        wealth = float(np.logaddexp.reduce(n * gains)) - math.log(len(STAKES))
        return wealth >= math.log(1 / delta)

    most = 1
    while not reached(most):
        most *= 2
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if reached(middle) else (middle, most)
    return most
