"""Intervals: exact for proportions, by bootstrap over prompts for means of dependent tokens.

Tokens of one prompt share their context and are dependent, so a confidence interval that treats
them as independent is too short. The unit that is resampled is the prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

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
    low = stats.beta.ppf(alpha / 2, successes, n - successes + 1) if successes else 0.0
    high = stats.beta.ppf(1 - alpha / 2, successes + 1, n - successes) if successes < n else 1.0
    return Interval(successes / n, float(low), float(high), level)


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
        below = self.replicates[:, denominator]
        usable = below != 0
        estimate = float(self.estimate[numerator] / self.estimate[denominator])
        ratios = self.replicates[usable, numerator] / below[usable]
        return percentile_interval(estimate, ratios, self.level)


def percentile_interval(
    estimate: float, replicates: FloatArray | Sequence[float], level: float
) -> Interval:
    """Return the interval of a level around an estimate between the quantiles of its replicates."""
    tail = (1.0 - level) / 2
    low, high = np.quantile(replicates, [tail, 1.0 - tail])
    return Interval(float(estimate), float(low), float(high), level)


def cluster_bootstrap(
    values: ArrayLike,
    clusters: ArrayLike,
    rng: np.random.Generator,
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
    weights = multiplicities(rng, len(names), replicates)
    return ClusterMeans(
        estimate=sums.sum(axis=0) / sizes.sum(),
        replicates=(weights @ sums) / (weights @ sizes)[:, None],
        level=level,
    )


def multiplicities(rng: np.random.Generator, clusters: int, replicates: int) -> IntArray:
    """How often each cluster is drawn in each bootstrap replicate, `(replicates, clusters)`."""
    return rng.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=replicates)
