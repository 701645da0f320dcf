"""Intervals: exact for proportions, over prompts for means and shares of dependent tokens.

Tokens of one prompt share their context and are dependent, so a confidence interval that treats
them as independent is too short. The unit that is resampled is the prompt.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from stopping.errors import UserError
from stopping.types import FloatArray, IntArray


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval `[low, high]` at a stated `level`."""

    estimate: float
    low: float
    high: float
    level: float = 0.95

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of zero."""
        return self.low > 0 or self.high < 0


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Exact binomial interval of Clopper and Pearson (1934) for `successes` out of `n`."""
    if n <= 0 or not 0 <= successes <= n:
        raise UserError(f"need 0 <= successes <= n and n > 0, got {successes} of {n}")
    alpha = 1.0 - level
    low = special.betaincinv(successes, n - successes + 1, alpha / 2) if successes else 0.0
    high = special.betaincinv(successes + 1, n - successes, 1 - alpha / 2) if successes < n else 1.0
    return Interval(successes / n, float(low), float(high), level)


def student_ratio(numerator: ArrayLike, denominator: ArrayLike, level: float = 0.95) -> Interval:
    """Student's interval of a ratio of two sums over clusters, by its linearisation.

    Parameters
    ----------
    numerator, denominator : array_like, shape (n,)
        Sums of each cluster; a mean over tokens has their number below.

    Returns
    -------
    Interval
        NaN throughout where the denominators sum to zero, with NaN ends where fewer than two
        clusters have one.
    """
    above, below = _contributing(numerator, denominator)
    n = len(below)
    if not n:
        return Interval(math.nan, math.nan, math.nan, level)
    estimate = float(above.sum() / below.sum())
    if n < 2:
        return Interval(estimate, math.nan, math.nan, level)
    rest = above - estimate * below
    error = math.sqrt(float((rest**2).sum()) / (n * (n - 1))) / float(below.mean())
    margin = float(special.stdtrit(n - 1, (1 + level) / 2)) * error
    return Interval(estimate, estimate - margin, estimate + margin, level)


SHARE_LEVEL = 0.9
"""Level of the interval of a share that decides: each end errs with a probability of 5 %."""
_DRAWS, _TAIL_DRAWS = 4000, 20


def gaffke_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    least: float,
    most: float,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    r"""Interval of a ratio of sums over clusters, as wide as one cluster more could make it.

    With `w_0, ..., w_n` independent exponential weights, its ends are quantiles of

        ( sum w_i N_i + w_0 b D ) / ( sum w_i D_i + w_0 D ),      D = mean of the D_i,

    where a cluster that was not seen has the ratio `b = least` (lower end) or `b = most` (upper
    end). For clusters of one size whose ratios cannot lie beyond, this is Gaffke's (2005) bound for
    the mean of a bounded variable. Clusters of unequal size count by their tokens, which the bound
    does not cover if the large ones differ.

    Parameters
    ----------
    numerator, denominator : array_like, shape (n,)
        Sums of each cluster; those without a denominator are left out.
    seed : int
        Of the weights.

    Returns
    -------
    Interval
        NaN throughout where no cluster has a denominator.

    References
    ----------
    Gaffke, N. (2005), Three test statistics for a nonparametric one-sided hypothesis on the mean of
    a nonnegative variable, *Math. Methods Statist.* 14.
    """
    above, below = _contributing(numerator, denominator)
    n = len(below)
    if not n:
        return Interval(math.nan, math.nan, math.nan, level)
    tail = (1 - level) / 2
    draws = max(_DRAWS, math.ceil(_TAIL_DRAWS / tail))
    weights = np.random.default_rng(seed).standard_exponential((draws, n + 1))
    seen, unseen = weights[:, :n] @ above, weights[:, n] * below.mean()
    total = weights[:, :n] @ below + unseen
    low = np.quantile((seen + least * unseen) / total, tail)
    high = np.quantile((seen + most * unseen) / total, 1 - tail)
    return Interval(float(above.sum() / below.sum()), float(low), float(high), level)


def cluster_share(
    numerator: ArrayLike, denominator: ArrayLike, seed: int = 0, level: float = SHARE_LEVEL
) -> Interval:
    """Interval of a share of tokens that keeps its level however alike those of a cluster are.

    `gaffke_ratio` between 0 and 1; for clusters that break wholly or not at all it is Clopper and
    Pearson's interval over clusters. Student's interval and the bootstrap are too short at the
    upper end where few clusters hold most of what is counted.
    """
    return gaffke_ratio(numerator, denominator, 0.0, 1.0, seed, level)


def clusters_needed(share: float, level: float = SHARE_LEVEL) -> int:
    """Fewest clusters without a token counted that show a share of at most `share`.

    `cluster_share` then ends at `1 - tail^(1 / n)`, with `tail` the error of its upper end.
    """
    return math.ceil(math.log((1 - level) / 2) / math.log1p(-share))


def _contributing(numerator: ArrayLike, denominator: ArrayLike) -> tuple[FloatArray, FloatArray]:
    above = np.asarray(numerator, dtype=np.float64)
    below = np.asarray(denominator, dtype=np.float64)
    if above.ndim != 1 or above.shape != below.shape:
        raise UserError(f"sums {above.shape} over {below.shape}: need one of each for a cluster")
    asked = below > 0
    return above[asked], below[asked]


@dataclass(frozen=True)
class ClusterMeans:
    """Bootstrap over clusters of the token means of several columns at once.

    Attributes
    ----------
    estimate : ndarray, shape (m,)
        Token means of the `m` columns.
    replicates : ndarray, shape (replicates, m)
        The same means on resampled clusters; differences of columns are paired.
    """

    estimate: FloatArray
    replicates: FloatArray
    level: float = 0.95

    def interval(self, column: int) -> Interval:
        """Percentile interval of one column's mean."""
        return percentile_interval(self.estimate[column], self.replicates[:, column], self.level)

    def difference(self, column: int, baseline: int) -> Interval:
        """Percentile interval of the paired difference of two columns' means."""
        return percentile_interval(
            self.estimate[column] - self.estimate[baseline],
            self.replicates[:, column] - self.replicates[:, baseline],
            self.level,
        )

    def ratio(self, numerator: int, denominator: int) -> Interval:
        """Percentile interval of a ratio of means, such as a mean over a subset of tokens.

        A replicate whose subset is empty says nothing and is left out.
        """
        return self.ratios([numerator], [denominator])[0]

    def ratios(self, numerators: Sequence[int], denominators: Sequence[int]) -> list[Interval]:
        """`ratio` of each numerator and its denominator."""
        estimates = self.estimate[numerators] / self.estimate[denominators]
        above, below = self.replicates[:, numerators], self.replicates[:, denominators]
        usable = below != 0
        whole = usable.all(axis=0)
        ends = np.empty((2, len(estimates)))
        ends[:, whole] = _ends(above[:, whole] / below[:, whole], self.level)
        for k in np.flatnonzero(~whole):
            rows = usable[:, k]
            ends[:, k] = _ends(above[rows, k] / below[rows, k], self.level)
        return [
            Interval(float(estimate), float(low), float(high), self.level)
            for estimate, low, high in zip(estimates, *ends, strict=True)
        ]


def percentile_interval(
    estimate: float, replicates: FloatArray | Sequence[float], level: float
) -> Interval:
    """Return the interval of a level around an estimate between the quantiles of its replicates."""
    low, high = _ends(np.asarray(replicates), level)
    return Interval(float(estimate), float(low), float(high), level)


def _ends(replicates: FloatArray, level: float) -> FloatArray:
    tail = (1.0 - level) / 2
    ends: FloatArray = np.quantile(replicates, [tail, 1.0 - tail], axis=0)
    return ends


def cluster_bootstrap(
    values: ArrayLike,
    clusters: ArrayLike,
    seed: int,
    replicates: int = 1000,
    level: float = 0.95,
) -> ClusterMeans:
    """Bootstrap the token means of `values` by resampling whole clusters with replacement.

    Parameters
    ----------
    values : array_like, shape (n, m)
        One row per token.
    clusters : array_like, shape (n,)
        The prompt of each token.
    seed : int
        Tables over as many clusters with the same seed have the same resamples: differences
        between them are paired too.

    Raises
    ------
    UserError
        If there are fewer than two clusters (no interval can be had) or the shapes disagree.
    """
    table = np.asarray(values, dtype=np.float64)
    labels = np.asarray(clusters)
    if table.ndim != 2 or labels.shape != table.shape[:1]:
        raise UserError(
            f"values {table.shape}, clusters {labels.shape}: need (tokens, columns) and (tokens,)"
        )
    names, index = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise UserError(
            f"{len(names)} prompt(s): an interval over prompts needs at least two; trace more"
        )
    sums = np.column_stack([np.bincount(index, column, len(names)) for column in table.T])
    sizes = np.bincount(index, minlength=len(names)).astype(np.float64)
    weights = _weights(seed, len(names), replicates)
    return ClusterMeans(
        estimate=sums.sum(axis=0) / sizes.sum(),
        replicates=(weights @ sums) / (weights @ sizes)[:, None],
        level=level,
    )


@lru_cache(maxsize=2)  # thousands of prompts are hundreds of megabytes
def _weights(seed: int, clusters: int, replicates: int) -> FloatArray:
    """Kept, since the tables of one sample ask for the same many times and drawing is slow."""
    drawn = multiplicities(np.random.default_rng(seed), clusters, replicates).astype(np.float64)
    drawn.setflags(write=False)
    return drawn


def multiplicities(rng: np.random.Generator, clusters: int, replicates: int) -> IntArray:
    """How often each cluster is drawn in each bootstrap replicate, `(replicates, clusters)`."""
    return rng.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=replicates)
