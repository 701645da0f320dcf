"""Numbers that an option takes: finite, and within a range that its help and its errors state."""

import math

import click


class Number(click.FloatRange):
    """A finite number in a range; a NaN lies in none, though it compares with no end."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number
