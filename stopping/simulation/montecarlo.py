"""Monte Carlo in fixed blocks: an estimate with its error, and a verdict at a declared level.

A quantity is drawn in blocks of fixed size. Each block has its own stream, keyed by the seed, the
name of the quantity and the block's number, and the blocks' moments are merged in order: the
result is the same bit for bit for any number of workers, and memory is that of one block.

A check answers

- **holds**: the confidence interval lies on the right side of the bound (for a statement about
  every draw: no draw violates it);
- **violated**: the interval lies on the wrong side (some draw violates it);
- **undecided**: neither; draw more.
"""

import enum
import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from scipy.special import ndtri

from stopping.errors import UserError
from stopping.support.parallel import Workers, in_order
from stopping.support.statistics import clopper_pearson
from stopping.types import FloatArray

Draw: TypeAlias = Callable[[np.random.Generator, int], FloatArray]
"""Draws `n` values of a quantity."""


class Verdict(enum.StrEnum):
    """What a check found."""

    HOLDS = "holds"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


class Relation(enum.StrEnum):
    """What a claim says of a quantity."""

    ALWAYS_AT_MOST = "every draw <="
    ALWAYS_BELOW = "every draw <"
    MEAN_AT_MOST = "mean <="
    MEAN_EQUALS = "mean ="


@dataclass(frozen=True)
class Moments:
    """Count, mean, sum of squared deviations, range, and the draws that break a bound."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    greatest: float = -math.inf
    breaking: int = 0
    binary: bool = True

    @classmethod
    def of(cls, values: FloatArray, bound: float, strict: bool) -> "Moments":
        """Moments of one block; `breaking` counts values above `bound` (at it too, if strict)."""
        mean = float(values.mean())
        return cls(
            n=len(values),
            mean=mean,
            squares=float(((values - mean) ** 2).sum()),
            least=float(values.min()),
            greatest=float(values.max()),
            breaking=int(np.count_nonzero(values >= bound if strict else values > bound)),
            binary=bool(np.isin(values, (0.0, 1.0)).all()),
        )

    def __add__(self, other: "Moments") -> "Moments":
        if self.n == 0:
            return other
        n = self.n + other.n
        shift = other.mean - self.mean
        return Moments(
            n=n,
            mean=self.mean + shift * other.n / n,
            squares=self.squares + other.squares + shift**2 * self.n * other.n / n,
            least=min(self.least, other.least),
            greatest=max(self.greatest, other.greatest),
            breaking=self.breaking + other.breaking,
            binary=self.binary and other.binary,
        )


@dataclass(frozen=True)
class Estimate:
    """A Monte Carlo estimate with its standard error, interval and seed.

    `low` and `high` bound the mean at the stated `level`: exactly (Clopper and Pearson) for
    indicators, by the central limit theorem otherwise.
    """

    mean: float
    stderr: float
    low: float
    high: float
    greatest: float
    breaking: int
    n: int
    level: float
    seed: int


def stream(seed: int, name: str, block: int) -> np.random.Generator:
    """Generator of one block of the quantity `name`: independent of all others."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng(np.random.SeedSequence((seed, key, block)))


def block_moments(
    draw: Draw, name: str, seed: int, block: int, size: int, bound: float, strict: bool = False
) -> Moments:
    """Draw one block and keep its moments.

    Raises
    ------
    UserError
        If the quantity comes out not finite: a NaN would pass every comparison unseen.
    """
    values = np.asarray(draw(stream(seed, name, block), size), dtype=np.float64)
    if values.shape != (size,) or not np.isfinite(values).all():
        raise UserError(f"{name}: block {block} has shape {values.shape} or values not finite")
    return Moments.of(values, bound, strict)


def blocks(n: int, block: int) -> Iterable[tuple[int, int]]:
    """Split `n` draws into numbered blocks of `block`, the last one shorter."""
    return ((i, min(block, n - start)) for i, start in enumerate(range(0, n, block)))


def summarise(moments: Moments, level: float, seed: int) -> Estimate:
    """Turn merged moments into an estimate with a two-sided interval at `level`."""
    n = moments.n
    if n < 2:
        raise UserError(f"an estimate needs at least two draws, got {n}")
    stderr = math.sqrt(moments.squares / (n - 1) / n)
    if moments.binary:
        exact = clopper_pearson(round(moments.mean * n), n, level)
        low, high = exact.low, exact.high
    else:
        z = float(ndtri((1 + level) / 2))
        low, high = moments.mean - z * stderr, moments.mean + z * stderr
    return Estimate(
        moments.mean, stderr, low, high, moments.greatest, moments.breaking, n, level, seed
    )


def estimate(
    draw: Draw,
    n: int,
    seed: int,
    *,
    name: str = "",
    level: float = 0.999,
    block: int = 1 << 15,
    workers: Workers | None = None,
) -> Estimate:
    """Estimate the mean of a quantity from `n` draws; the same for any number of workers."""
    jobs = (
        partial(block_moments, draw, name, seed, index, size, math.inf)
        for index, size in blocks(n, block)
    )
    return summarise(sum(in_order(jobs, workers), Moments()), level, seed)


def judge(relation: Relation, bound: float, found: Estimate, tolerance: float = 0.0) -> Verdict:
    """Compare an estimate with a bound.

    Parameters
    ----------
    tolerance : float
        For `MEAN_EQUALS`: how far from `bound` still counts as equal. The claim holds when the
        whole interval lies within it, and is violated when the whole interval lies outside.
    """
    if relation in (Relation.ALWAYS_AT_MOST, Relation.ALWAYS_BELOW):
        return Verdict.VIOLATED if found.breaking else Verdict.HOLDS
    if relation is Relation.MEAN_AT_MOST:
        if found.high <= bound:
            return Verdict.HOLDS
        return Verdict.VIOLATED if found.low > bound else Verdict.UNDECIDED
    if bound - tolerance <= found.low and found.high <= bound + tolerance:
        return Verdict.HOLDS
    outside = found.high < bound - tolerance or found.low > bound + tolerance
    return Verdict.VIOLATED if outside else Verdict.UNDECIDED
