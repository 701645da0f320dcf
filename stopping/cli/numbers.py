"""Numbers that an option takes: finite, and within a range that its help and its errors state.

No option is without both ends: a size that no machine can serve would end in a hang, or in an
error of another library.
"""

import math
import os
import re
from typing import Any

import click
import numpy as np

MOST_JOBS = max(64, 4 * (os.cpu_count() or 1))
"""Worker processes: more would exhaust the machine."""

MOST_VALUES = 1000
"""Values of an axis that are computed."""

BATCH = click.IntRange(1, 4096)
JOBS = click.IntRange(1, MOST_JOBS)
REPLICATES = click.IntRange(100, 100_000)
SEED = click.IntRange(0, 2**32 - 1)
WINDOW = click.IntRange(1, 1000)


def at_least(least: int = 1, most: int = 1_000_000) -> click.IntRange:
    """How many problems, tokens or draws."""
    return click.IntRange(least, most)


class Number(click.FloatRange):
    """A finite number in a range; a NaN lies in none, though it compares with no end."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


NATS = Number(0, 1000)
"""Costs and differences."""


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """`0.1,0.2,0.5`: different numbers, each in the range of `one`."""

    name = "numbers"
    expected = "numbers with commas"

    def __init__(self, one: Number) -> None:
        self.one = one

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Read the numbers."""
        if isinstance(value, tuple):  # read before
            return value
        text = str(value)
        try:
            read = self.read(text, param, ctx)
        except ValueError:
            self.fail(f"{text!r}: expected {self.expected}", param, ctx)
        numbers = tuple(self.one.convert(number, param, ctx) for number in read)
        if len(set(numbers)) < len(numbers):
            self.fail(f"{text!r}: the same number twice", param, ctx)
        return numbers

    def read(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[float]:
        """Split and parse, whatever the range."""
        return [float(part) for part in text.split(",")]


class WholeNumbers(Numbers):
    """`0,10,11,12`: different whole numbers, each in the range of `one`."""

    expected = "whole numbers with commas"

    def read(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[float]:
        """Refuse fractions."""
        return [float(int(part)) for part in text.split(",")]


class Axis(Numbers):
    """`0:1:21` (first, last, how many) or `0.1,0.2,0.5`."""

    name = "axis"
    expected = "FIRST:LAST:COUNT or numbers with commas"

    def read(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[float]:
        """Also spread COUNT numbers from FIRST to LAST."""
        span = re.fullmatch(r"([^:,]+):([^:,]+):(\d+)", text)
        if span is None:
            return super().read(text, param, ctx)
        low, high = (self.one.convert(float(end), param, ctx) for end in span.groups()[:2])
        size = int(span[3])
        if not 1 <= size <= MOST_VALUES:
            self.fail(f"{text!r}: COUNT is not in the range 1<=x<={MOST_VALUES}.", param, ctx)
        # Rounded, so that the names of cells are those that a reader would write.
        return [float(f"{v:.10g}") for v in np.linspace(low, high, size)]


class CountOr(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """A number, or a word that stands for no limit and becomes None."""

    name = "number"

    def __init__(self, word: str, most: int) -> None:
        self.word = word
        self.range = at_least(most=most)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Read the number or the word."""
        if value is None or value == self.word:
            return None
        try:
            return int(self.range.convert(value, param, ctx))
        except click.BadParameter:
            limits = f"{self.range.min}<=x<={self.range.max}"
            self.fail(f"{value!r} is neither in the range {limits} nor {self.word!r}.", param, ctx)
