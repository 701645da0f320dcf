"""Two ways of answering the same problems: what differs, how surely, and is it chance?

Of `n` problems, `fixed` are solved by the rule alone and `regressed` by plain decoding alone; the
others say nothing about the difference. The difference of the two accuracies is

    delta = P(fixed) - P(regressed),   estimated by (fixed - regressed) / n.

**Test.** Given their number, the problems that only one solves fall either way with probability
1/2 if the accuracies are equal. McNemar's exact test is the binomial test of that: it rejects with
probability at most its level, whatever `n`. Problems of a group (a template, a document) may fall
together: then the signs of whole groups are flipped, which is the same test for groups of one. For
larger groups it is exact if a rule and plain decoding may be exchanged within a group. Equal
accuracies are less than that: a rule that wins a little in most groups and loses much in a few is
called better by a sample without those. So the interval allows for a group that was not seen.

**Interval.** The score interval of Tango (1998): all `delta` at which

    (fixed - regressed - n delta) / sqrt(n (2 q + delta (1 - delta)))

lies within the normal quantiles, with `q` the likeliest P(regressed) under that `delta`. At
`delta = 0` this is McNemar's statistic. It is asymptotic, but does not collapse where few problems
differ: where none do it still has a length of about 8 / n at 95 %, while the usual interval and the
bootstrap have none at all. The tests compute its coverage exactly.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from stopping.errors import UserError
from stopping.support.statistics import (
    Interval,
    clopper_pearson,
    gaffke_ratio,
    student_ratio,
)


@dataclass(frozen=True)
class Paired:
    """A rule against plain decoding on the same `problems`.

    `accuracy` and `plain` are the shares solved, with exact binomial intervals; `difference` is
    their difference, with the hull of the score interval and, where problems are grouped, those of
    `group_interval`; `p_value` is that of the exact test.
    """

    problems: int
    accuracy: Interval
    plain: Interval
    difference: Interval
    fixed: int
    regressed: int
    p_value: float


def paired(
    rule: ArrayLike, plain: ArrayLike, level: float = 0.95, groups: ArrayLike | None = None
) -> Paired:
    """Compare who solved which problems.

    Parameters
    ----------
    rule, plain : array_like of bool, shape (n,)
        Whether each problem was solved.
    level : float
        Level of the interval of the difference; those of the accuracies have 95 %.
    groups : array_like, shape (n,), optional
        What problems have in common that are no independent draws; default: nothing.

    Raises
    ------
    UserError
        If there is no problem, or the shapes differ.
    """
    a, b = np.asarray(rule, dtype=np.bool_), np.asarray(plain, dtype=np.bool_)
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise UserError(f"answers {a.shape} and {b.shape}: need one of each for every problem")
    fixed, regressed = int((a & ~b).sum()), int((~a & b).sum())
    labels = np.arange(len(a)) if groups is None else np.asarray(groups)
    surplus = a.astype(np.intp) - b
    return Paired(
        problems=len(a),
        accuracy=clopper_pearson(int(a.sum()), len(a)),
        plain=clopper_pearson(int(b.sum()), len(b)),
        difference=_hull(
            score_interval(fixed, regressed, len(a), level),
            group_interval(surplus, labels, float(b.mean()), level),
        ),
        fixed=fixed,
        regressed=regressed,
        p_value=sign_flips(surplus, labels),
    )


def sign_flips(surplus: NDArray[np.intp], groups: NDArray[Any]) -> float:
    """Two-sided p-value of the exact test that flips whole groups.

    Parameters
    ----------
    surplus : (n,)
        1 for a problem that is fixed, -1 for one that regressed, 0 otherwise.
    groups : (n,)
        McNemar's test is the case of groups of one.
    """
    sums = [abs(s) for s in _sums(surplus, groups).tolist() if s]
    reach = sum(sums)
    # Distribution of the sum of +-s over the groups, exactly: place `reach` is zero.
    p = np.zeros(2 * reach + 1)
    p[reach] = 1.0
    for s in sums:
        p = (np.roll(p, s) + np.roll(p, -s)) / 2
    far = np.abs(np.arange(-reach, reach + 1)) >= abs(int(surplus.sum()))
    return min(1.0, float(p[far].sum()))


def group_interval(
    surplus: NDArray[np.intp], groups: NDArray[Any], plain: float, level: float
) -> Interval:
    """Interval of the mean surplus over groups: the hull of Student's and Gaffke's.

    The latter allows for a group that was not seen, in which the rule loses what plain decoding
    solves on average, a share `plain`, or wins all else. Of no length where every problem stands
    for itself, which the score interval is for.
    """
    estimate, n = float(surplus.mean()), len(surplus)
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) in (1, n):
        return Interval(estimate, estimate, estimate, level)
    sums = _sums(surplus, groups)
    return _hull(
        student_ratio(sums, sizes, level),
        gaffke_ratio(sums, sizes, -plain, 1 - plain, level=level),
    )


def _sums(surplus: NDArray[np.intp], groups: NDArray[Any]) -> NDArray[np.intp]:
    index = np.unique(groups, return_inverse=True)[1].ravel()
    return np.bincount(index, surplus).round().astype(np.intp)


def _hull(one: Interval, other: Interval) -> Interval:
    low, high = min(one.low, other.low), max(one.high, other.high)
    return Interval(one.estimate, max(low, -1.0), min(high, 1.0), one.level)


def score_interval(fixed: int, regressed: int, n: int, level: float = 0.95) -> Interval:
    """Tango's score interval of the difference of two paired proportions.

    Raises
    ------
    UserError
        If the counts are negative or exceed `n`, or `n` is not positive.
    """
    if n <= 0 or min(fixed, regressed) < 0 or fixed + regressed > n:
        raise UserError(f"need fixed + regressed <= n, got {fixed} and {regressed} of {n}")
    quantile = float(special.ndtri((1 + level) / 2))
    estimate = (fixed - regressed) / n
    return Interval(
        estimate,
        -_upper_end(regressed, fixed, n, quantile),
        _upper_end(fixed, regressed, n, quantile),
        level,
    )


def _upper_end(fixed: int, regressed: int, n: int, quantile: float) -> float:
    """Largest `delta` at which the statistic is not below `-quantile`."""
    if fixed == n:
        return 1.0

    def excess(delta: float) -> float:
        return _statistic(delta, fixed, regressed, n) + quantile

    # The statistic falls in delta: it is 0 at the estimate and falls without bound towards 1.
    end = optimize.brentq(excess, (fixed - regressed) / n, 1 - 1e-12, xtol=1e-10)
    return float(end)


def _statistic(delta: float, fixed: int, regressed: int, n: int) -> float:
    surplus = fixed - regressed - n * delta
    if surplus == 0:
        return 0.0
    # The likeliest P(regressed) when P(fixed) exceeds it by delta is the larger root of a
    # quadratic.
    b = -fixed - regressed + (2 * n - fixed + regressed) * delta
    c = -regressed * delta * (1 - delta)
    q = (math.sqrt(b * b - 8 * n * c) - b) / (4 * n)
    variance = n * (2 * q + delta * (1 - delta))
    return surplus / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, surplus)
