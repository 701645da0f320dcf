"""Intervals of means and ratios over tokens, by resampling whole prompts.

Tokens of one prompt are dependent, so the prompt is what is resampled. Every interval of one
sample uses the same resamples of prompts: results do not depend on the order in which intervals
are asked for, and differences between any two of them are paired.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stopping.support.statistics import Interval, cluster_bootstrap
from stopping.types import FloatArray

LEVEL = 0.95
_TAIL_REPLICATES = 10
"""Least number of replicates beyond each end of an interval."""


@dataclass(frozen=True, eq=False)
class Ratio:
    """A ratio of two sums over tokens, each `(n,)`, to be given an interval of level `level`."""

    numerator: FloatArray
    denominator: FloatArray
    level: float = LEVEL


def mean(values: ArrayLike, where: ArrayLike | None = None, level: float = LEVEL) -> Ratio:
    """Return the mean of `values` over the tokens where `where` is true (default: all)."""
    column = np.asarray(values, dtype=np.float64)
    if where is None:
        return Ratio(column, np.ones_like(column), level)
    mask = np.asarray(where, dtype=np.bool_)
    return Ratio(np.where(mask, column, 0.0), mask.astype(np.float64), level)


def bonferroni(comparisons: int, error: float = 1.0 - LEVEL) -> float:
    """Level of each of so many intervals at which all of them hold with `1 - error`."""
    return 1.0 - error / max(comparisons, 1)


def prompt_intervals(
    ratios: Mapping[str, Ratio], prompt: ArrayLike, seed: int, replicates: int
) -> dict[str, Interval]:
    """Bootstrap every ratio over prompts.

    Parameters
    ----------
    ratios : mapping
        Ratios by name, arrays `(n,)`.
    prompt : array_like, shape (n,)
        Prompt of each token.
    replicates : int
        Resamples; raised where an interval's level asks for more, so that the ends of an interval
        rest on no fewer than ten resamples.

    Returns
    -------
    dict
        Intervals by name. NaN throughout where the denominator is zero on every token; a bare
        estimate with NaN ends where fewer than two prompts contribute, which allow no interval.

    Raises
    ------
    UserError
        If there are fewer than two prompts.
    """
    names = list(ratios)
    columns = [side for r in ratios.values() for side in (r.numerator, r.denominator)]
    needed = {r.level: max(replicates, tail_replicates(r.level)) for r in ratios.values()}
    means = cluster_bootstrap(np.column_stack(columns), prompt, seed, max(needed.values()))
    contributors = np.asarray(prompt)
    result: dict[str, Interval] = {}
    asked: dict[float, list[int]] = {}
    for i, name in enumerate(names):
        ratio = ratios[name]
        if means.estimate[2 * i + 1] == 0:
            result[name] = Interval(math.nan, math.nan, math.nan, ratio.level)
        elif _of_one_prompt(contributors, ratio.denominator):
            estimate = float(means.estimate[2 * i] / means.estimate[2 * i + 1])
            result[name] = Interval(estimate, math.nan, math.nan, ratio.level)
        else:
            asked.setdefault(ratio.level, []).append(i)
    for level, own in asked.items():
        # More resamples continue the same stream, so an interval does not depend on whether
        # another one asked for more.
        of_level = replace(means, replicates=means.replicates[: needed[level]], level=level)
        found = of_level.ratios([2 * i for i in own], [2 * i + 1 for i in own])
        result |= {names[i]: interval for i, interval in zip(own, found, strict=True)}
    return {name: result[name] for name in names}


def tail_replicates(level: float) -> int:
    """Least number of resamples for an interval of this level."""
    return math.ceil(2 * _TAIL_REPLICATES / (1.0 - level))


def _of_one_prompt(prompt: NDArray[np.int32], denominator: FloatArray) -> bool:
    contributing = prompt[denominator != 0]
    return bool((contributing == contributing[0]).all())
