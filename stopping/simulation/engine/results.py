"""What a simulation found of each rule, and the tallies of blocks that it is made from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stopping.rules import AbstractRule
from stopping.simulation.engine.model import Model
from stopping.simulation.engine.plans import Plan
from stopping.support.results import Result
from stopping.types import FloatArray

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class RuleStatistics:
    """One rule on `n` tokens; plain values, ready for JSON.

    Attributes
    ----------
    rule : str
        As `parse_rule` reads it.
    name : str
    n : int
    mean, stderr, variance, greatest : float
        Of the excess `G[V^] - G[V*]`, nats.
    projections : float
        Projections per token beyond the final layer's, as `rule.projections` counts them.
    layers : tuple of int
        Number of tokens by chosen layer.
    histogram : tuple of int
        Number of tokens by excess, in equal bins on `[0, high)`; the last entry counts the rest.
    high : float
        Where the bins end, nats.
    """

    rule: str
    name: str
    n: int
    mean: float
    stderr: float
    variance: float
    greatest: float
    projections: float
    layers: tuple[int, ...]
    histogram: tuple[int, ...]
    high: float


@dataclass(frozen=True)
class Simulation(Result):
    """Every rule on the same `n` tokens, and what drew them."""

    rules: tuple[RuleStatistics, ...]
    n: int
    seed: int

    def items(self) -> Sequence[RuleStatistics]:
        """Rules."""
        return self.rules

    def __getitem__(self, rule: AbstractRule) -> RuleStatistics:
        for found in self.rules:
            if found.rule == rule.spec():
                return found
        raise KeyError(rule.spec())


@dataclass(frozen=True, eq=False)
class Tally:
    """What is counted of `r` rules and `t` turning points in some blocks.

    Attributes
    ----------
    counts : ndarray of int, shape (r, t, layers)
        Tokens by turning point and chosen layer.
    fixed : ndarray of int, shape (r, t, layers)
        Those among them whose excess follows from the two; of the others the values are noted.
    projections : ndarray of int, shape (r,)
        Projections, summed.
    sums, squares, greatest : ndarray, shape (r,)
        Of the values noted.
    histogram : ndarray of int, shape (r, bins + 1)
        Of the same.
    """

    counts: Counts
    fixed: Counts
    projections: Counts
    sums: FloatArray
    squares: FloatArray
    greatest: FloatArray
    histogram: Counts

    @classmethod
    def empty(cls, rules: int, turnings: int, layers: int, bins: int) -> "Tally":
        """Count nothing yet."""
        return cls(
            counts=np.zeros((rules, turnings, layers), dtype=np.int64),
            fixed=np.zeros((rules, turnings, layers), dtype=np.int64),
            projections=np.zeros(rules, dtype=np.int64),
            sums=np.zeros(rules),
            squares=np.zeros(rules),
            greatest=np.full(rules, -math.inf),
            histogram=np.zeros((rules, bins + 1), dtype=np.int64),
        )

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            counts=self.counts + other.counts,
            fixed=self.fixed + other.fixed,
            projections=self.projections + other.projections,
            sums=self.sums + other.sums,
            squares=self.squares + other.squares,
            greatest=np.maximum(self.greatest, other.greatest),
            histogram=self.histogram + other.histogram,
        )

    def count(self, rule: int, plan: Plan, depths: Counts, fixed: Counts) -> None:
        """Add tokens of one rule by turning point and depth, both arrays `(t, steps + 1)`."""
        np.add.at(self.counts[rule].T, plan.layers, depths.T)
        np.add.at(self.fixed[rule].T, plan.layers, fixed.T)
        if plan.projections is not None:
            self.projections[rule] += int(depths.sum(axis=0) @ plan.projections)


def summarise(
    tally: Tally, model: Model, rules: Sequence[AbstractRule], seed: int, high: float
) -> Simulation:
    """Turn counts into statistics: exact sums where the excess is fixed, and what was noted."""
    excess = model.excess()
    bins = tally.histogram.shape[1] - 1
    # As float32 has it for the values that are noted.
    place = np.clip((excess * (bins / high)).astype(np.intp), 0, bins)
    n = int(tally.counts[0].sum())
    found = []
    for i, rule in enumerate(rules):
        counts = tally.fixed[i]
        random = n - int(counts.sum())
        mean = (float((counts * excess).sum()) + float(tally.sums[i])) / n
        # Squared deviations: of the fixed values term by term, of the noted ones by their sums.
        squares = float((counts * (excess - mean) ** 2).sum())
        if random:
            noted = tally.squares[i] - mean * (2.0 * tally.sums[i] - random * mean)
            squares += max(float(noted), 0.0)
        seen = excess[counts > 0]
        histogram = tally.histogram[i].copy()
        np.add.at(histogram, place, counts)
        variance = squares / (n - 1) if n > 1 else math.nan
        found.append(
            RuleStatistics(
                rule=rule.spec(),
                name=rule.name,
                n=n,
                mean=mean,
                stderr=math.sqrt(variance / n),
                variance=variance,
                greatest=max(float(seen.max(initial=-math.inf)), float(tally.greatest[i])),
                projections=float(tally.projections[i]) / n,
                layers=tuple(map(int, tally.counts[i].sum(axis=0))),
                histogram=tuple(map(int, histogram)),
                high=high,
            )
        )
    return Simulation(tuple(found), n, seed)
