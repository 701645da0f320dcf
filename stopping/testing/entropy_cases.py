"""The rows of logits that an entropy function is asked about.

Small rows are drawn entry by entry, so that a failing one shrinks; rows of a whole vocabulary are
drawn by a seed and written as the expression that makes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from stopping.testing.arrays import Dtype, rounded
from stopping.testing.strategies import logits, masked, peaked_logits
from stopping.types import FloatArray

if TYPE_CHECKING:
    from stopping.testing.entropy import Entropy

VOCABULARIES = (2, 1_000, 32_000, 50_257, 151_936, 200_000)
SHIFT: dict[Dtype, float] = {
    "float64": 1000.0,
    "float32": 1000.0,
    "float16": 256.0,
    "bfloat16": 32.0,
}
"""Constants that can be added to a grid of 1/4 without rounding."""
LEAST = 2


@dataclass(frozen=True, eq=False)
class Rows:
    """Logits `(n, vocabulary)`, exact in `dtype`; `expression` makes large ones again."""

    values: FloatArray
    dtype: Dtype
    expression: str = ""


def small(subject: Entropy) -> st.SearchStrategy[Rows]:
    """A row of 2 to 16 tokens within 4 nats of 0."""
    return logits().map(lambda z: Rows(z, subject.dtypes[0]))


def uniform(subject: Entropy) -> st.SearchStrategy[Rows]:
    """A row of equal logits."""
    return st.integers(LEAST, 64).map(lambda V: Rows(np.zeros((1, V)), subject.dtypes[0]))


def peaked(subject: Entropy) -> st.SearchStrategy[Rows]:
    """A token that leads by 8 to 10,000 nats."""
    return peaked_logits().map(lambda z: Rows(z, subject.dtypes[0]))


def hidden(subject: Entropy) -> st.SearchStrategy[Rows]:
    """Words masked by -inf."""
    return masked(logits()).map(lambda z: Rows(z, subject.dtypes[0]))


def shifted(subject: Entropy) -> st.SearchStrategy[Rows]:
    """A constant added to every token."""
    return _shifted(subject.dtypes[0])


def _shifted(dtype: Dtype) -> st.SearchStrategy[Rows]:
    by = st.sampled_from((1.0, -1.0)).map(lambda sign: sign * SHIFT[dtype])
    return st.builds(lambda z, c: Rows(z + c, dtype), logits(), by)


def large(subject: Entropy) -> st.SearchStrategy[Rows]:
    """Rows over vocabularies of up to 200,000 tokens, uniform or normal."""
    return _large(subject.dtypes[0], VOCABULARIES)


def _large(dtype: Dtype, vocabularies: tuple[int, ...]) -> st.SearchStrategy[Rows]:
    def build(V: int, scale: int, seed: int) -> Rows:
        if scale == 0:
            return Rows(np.zeros((1, V)), dtype, f"np.zeros((1, {V}))")
        z = np.random.default_rng(seed).normal(0, scale, (1, V))
        expression = f"np.random.default_rng({seed}).normal(0, {scale}, (1, {V}))"
        return Rows(rounded(z, dtype), dtype, expression)

    return st.builds(
        build, st.sampled_from(vocabularies), st.sampled_from((0, 1, 4)), st.integers(0, 1)
    )


def half(subject: Entropy) -> st.SearchStrategy[Rows]:
    """Rows of every kind in half precision."""
    return st.sampled_from(halves(subject)).flatmap(_half)


@cache
def _half(dtype: Dtype) -> st.SearchStrategy[Rows]:
    plain = st.one_of(logits(), peaked_logits(), masked(logits()))
    exact = plain.map(lambda z: Rows(rounded(z, dtype), dtype))
    return st.one_of(exact, _shifted(dtype), _large(dtype, (1_000, 32_000)))


def halves(subject: Entropy) -> tuple[Dtype, ...]:
    """Half precisions beside the basic one."""
    return tuple(
        d for d in subject.taken if d in ("bfloat16", "float16") and d != subject.dtypes[0]
    )


def batches(subject: Entropy) -> st.SearchStrategy[Rows]:
    """Two to four rows, each at a level of its own."""
    dtype = subject.dtypes[0]
    levels = st.lists(st.sampled_from((-1, 0, 1)), min_size=4, max_size=4)

    def build(z: FloatArray, level: list[int]) -> Rows:
        return Rows(z + SHIFT[dtype] * np.array(level[: len(z)])[:, None], dtype)

    return st.builds(build, logits(tokens=(2, 4)), levels)


def pairs(subject: Entropy) -> st.SearchStrategy[tuple[Rows, Rows]]:
    """Two rows over the same entries."""
    return logits(tokens=(2, 2)).map(
        lambda z: (Rows(z[:1], subject.dtypes[0]), Rows(z[1:], subject.dtypes[0]))
    )


def senseless(subject: Entropy) -> st.SearchStrategy[Rows]:
    """A row without a distribution: with NaN or +inf in it, or nothing but -inf."""

    def spoil(rows: Rows, bad: float, place: int) -> Rows:
        z = rows.values.copy()
        if bad == -np.inf:
            z[:] = bad
        else:
            z[0, place % z.shape[1]] = bad
        return replace(rows, values=z)

    bad = st.sampled_from((np.nan, np.inf, -np.inf))
    return st.builds(spoil, small(subject), bad, st.integers(0, 15))
