r"""Better, worse or undecided: comparisons with the final layer that hold their level.

A difference in log-loss is decided by an interval over whole clusters (groups of prompts where
they are known, prompts otherwise), since tokens of a text, and texts of a template, are dependent.
Two things make the usual intervals too sure of rules that leave the final layer on a few tokens,
win a little on most of them and lose much on some: few clusters, and losses so rare that the sample
happens to hold none. So the interval that decides is the hull of two:

*Studentised.* The ratio `R = sum D / sum T` of the clusters' differences and tokens, with the
standard error of its linearisation and Student's quantile.

*Two more clusters.* Let `w_1, ..., w_n` be independent exponential weights of the clusters and
`w_0` the sum of two more, for two clusters that were not seen. The ends are quantiles of

    ( sum w_i D_i + w_0 B ) / ( sum w_i T_i + w_0 mean T ),

with `B` the most that any cluster of the sample would have lost (for the lower end: won) on its
moved tokens, had the worst (best) layer of the window been chosen on every one of them. With one
such cluster this is Gaffke's (2005) bound for the mean of a variable that is at most `B`; the
second is for clusters that would lose more than any of the sample could. The losses of all layers
are known, so `B` says what a rule risks also where nothing has gone wrong yet. The price falls like
`1 / n`.

All rules of a table share an error of 5 %, by Holm's step-down: the `m` rules are judged at
`1 - 0.05 / m`; where `k` are decided, the others are judged again at `1 - 0.05 / (m - k)`, until no
more are. A rule is not judged at all where its moved tokens come from fewer than `LEAST_PROMPTS`
prompts or fewer than `LEAST_GROUPS` groups. `python -m benchmarks levels`
measures the error rates, with traces whose truth is known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from empirical.intervals import LEVEL, bonferroni, tail_replicates
from empirical.traces.window import Sample
from stopping.support.statistics import Interval, student_ratio
from stopping.types import BoolArray, FloatArray, IntArray

LEAST_PROMPTS = 30
"""Prompts with moved tokens without which there is no verdict."""
LEAST_GROUPS = 10
"""The same of groups."""
MATERIAL = 0.001
"""A difference in log-loss, nats, that counts: a thousandth of the perplexity."""
_AT_ONCE = 1 << 24


class Comparison(StrEnum):
    """A rule against the final layer, by log-loss at the adjusted level.

    BETTER and WORSE are said of an interval that lies beyond zero by more than what is material;
    of a smaller difference, however certain, and of too few prompts, UNDECIDED.
    """

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"


@dataclass(frozen=True, eq=False)
class Contest:
    """What a rule did to each token, and what it might have done, each of shape (n,).

    Attributes
    ----------
    difference : ndarray
        Log-loss minus the final layer's, nats; zero where the rule did not move.
    moved : ndarray of bool
    worst, best : ndarray
        The largest and the least difference that was possible where it moved; zero elsewhere.
    """

    difference: FloatArray
    moved: BoolArray
    worst: FloatArray
    best: FloatArray

    @classmethod
    def of_choice(cls, log_loss: FloatArray, choice: IntArray) -> "Contest":
        """Return the contest of a choice of columns of `log_loss`, shape (n, K + 1)."""
        minus_final = log_loss - log_loss[:, -1:]
        moved = choice != log_loss.shape[1] - 1
        return cls(
            difference=minus_final[np.arange(len(choice)), choice],
            moved=moved,
            worst=np.where(moved, minus_final.max(axis=1), 0.0),
            best=np.where(moved, minus_final.min(axis=1), 0.0),
        )

    @classmethod
    def of_difference(cls, difference: FloatArray) -> "Contest":
        """Return the contest of a rule that changes every token and chooses no layer."""
        return cls(difference, np.ones(len(difference), np.bool_), difference, difference)


@dataclass(frozen=True)
class Decision:
    """The interval that decides, at its adjusted level, and what it says.

    Attributes
    ----------
    prompts, groups : int
        How many prompts, and groups, the moved tokens come from; prompts without a group count as
        one each.
    """

    interval: Interval
    comparison: Comparison
    prompts: int
    groups: int

    @property
    def enough(self) -> bool:
        """Whether that is enough for a verdict."""
        return self.prompts >= LEAST_PROMPTS and self.groups >= LEAST_GROUPS


@dataclass(frozen=True, eq=False)
class ClusterSums:
    """The contests of `m` rules as sums over `n` clusters.

    Attributes
    ----------
    difference, worst, best : ndarray, shape (m, n)
        Nats, summed over each cluster's tokens.
    tokens : ndarray, shape (n,)
    prompts, groups : ndarray of int, shape (m,)
        How many prompts, and clusters, the moved tokens come from.
    """

    difference: FloatArray
    worst: FloatArray
    best: FloatArray
    tokens: FloatArray
    prompts: IntArray
    groups: IntArray

    @classmethod
    def of(cls, contests: Sequence[Contest], prompt: IntArray, clusters: IntArray) -> "ClusterSums":
        """Sum over clusters, numbered from 0; `prompt` and `clusters` have shape (n,)."""
        count = int(clusters.max()) + 1

        def sums(name: str) -> FloatArray:
            rows = [np.bincount(clusters, getattr(rule, name), count) for rule in contests]
            return np.array(rows, dtype=np.float64).reshape(len(contests), count)

        def sources(labels: IntArray) -> IntArray:
            return np.array([len(np.unique(labels[rule.moved])) for rule in contests], np.intp)

        return cls(
            difference=sums("difference"),
            worst=sums("worst"),
            best=sums("best"),
            tokens=np.bincount(clusters, minlength=count).astype(np.float64),
            prompts=sources(prompt),
            groups=sources(clusters),
        )

    def rules(self, rows: Sequence[int]) -> "ClusterSums":
        """The same of some rules."""
        own = ("difference", "worst", "best", "prompts", "groups")
        return replace(self, **{name: getattr(self, name)[list(rows)] for name in own})


def decide(
    contests: Sequence[Contest], sample: Sample, material: float = MATERIAL
) -> tuple[Decision, ...]:
    """Decide all comparisons of a table together; see the module for how.

    On the model's own text nothing is decided, and intervals alone are given.
    """
    if not contests:
        return ()
    sums = ClusterSums.of(contests, sample.traces.prompt.astype(np.intp), sample.clusters)
    found = step_down(sums, sample.seed, material)
    if sample.own_text:
        return tuple(replace(one, comparison=Comparison.UNDECIDED) for one in found)
    return found


def step_down(sums: ClusterSums, seed: int, material: float = MATERIAL) -> tuple[Decision, ...]:
    """Decide the comparisons with an error of 5 % for all of them together."""
    found: dict[int, Decision] = {}
    waiting = list(range(len(sums.difference)))
    while True:
        intervals = interval_over(sums.rules(waiting), seed, bonferroni(len(waiting)))
        for i, interval in zip(waiting, intervals, strict=True):
            one = Decision(
                interval, compare(interval, material), int(sums.prompts[i]), int(sums.groups[i])
            )
            found[i] = one if one.enough else replace(one, comparison=Comparison.UNDECIDED)
        left = [i for i in waiting if found[i].comparison is Comparison.UNDECIDED]
        if not left or len(left) == len(waiting):
            return tuple(found[i] for i in range(len(found)))
        waiting = left


def compare(difference: Interval, material: float = MATERIAL) -> Comparison:
    """Say what the log-loss difference to the final layer decides, beyond `material` nats."""
    if difference.high < -material:
        return Comparison.BETTER
    if difference.low > material:
        return Comparison.WORSE
    return Comparison.UNDECIDED


def interval_over(sums: ClusterSums, seed: int, level: float = LEVEL) -> tuple[Interval, ...]:
    """Interval of each rule's mean difference; `seed` is that of the weights, which all share."""
    difference, tokens = sums.difference, sums.tokens
    n, mean_tokens = len(tokens), tokens.mean()
    estimate = difference.sum(axis=1) / tokens.sum()
    if n < 2:
        return tuple(Interval(float(e), math.nan, math.nan, level) for e in estimate)
    students = [student_ratio(row, tokens, level) for row in difference]
    draws = tail_replicates(level)
    unseen = np.stack([sums.worst.max(axis=1), sums.best.min(axis=1)])
    ends = np.empty((2, draws, len(difference)))
    rng = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // (n + 1))
    for start in range(0, draws, step):
        w = rng.standard_exponential((min(step, draws - start), n + 2))
        w[:, n] += w[:, n + 1]
        seen, weight = w[:, :n] @ difference.T, w[:, :n] @ tokens + w[:, n] * mean_tokens
        for end, bound in zip(ends, unseen, strict=True):
            end[start : start + step] = (seen + np.outer(w[:, n], bound)) / weight[:, None]
    tail = (1 - level) / 2
    high = _quantile(ends[0], 1 - tail, "higher")
    low = _quantile(ends[1], tail, "lower")
    return tuple(
        Interval(one.estimate, min(float(a), one.low), max(float(b), one.high), level)
        for one, a, b in zip(students, low, high, strict=True)
    )


def _quantile(values: FloatArray, q: float, method: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.quantile(values, q, axis=0, method=method)  # type: ignore[call-overload]
    return found
