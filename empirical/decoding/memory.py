"""What a rule that remembers has become, for each row and place of one generation."""

from stopping.rules import AbstractRule
from stopping.types import FloatArray, IntArray

NO_ROW = -1


class Memory:
    """The rule after each place, row by row; a row is a stream of tokens of its own.

    A place that is decoded again (a text read anew without a cache, a guess that was dropped) is
    decoded by the rule as it was before that place. With beams, which change their rows, a row
    keeps what it has seen. A place of the prompt is no part of the text that is decoded: its row is
    `NO_ROW`, and nothing is kept of it, so that how a prompt is read changes nothing.
    """

    def __init__(self) -> None:
        self._after: dict[int, list[tuple[int, AbstractRule]]] = {}

    def choose(self, rule: AbstractRule, x: FloatArray, row: int, place: int) -> IntArray:
        """Choose for the one token `x`, shape (1, layers), at `place` of `row`; keep it in mind.

        `rule` is what a row begins with.
        """
        if row == NO_ROW:
            return rule.choose(x)
        past = self._after.setdefault(row, [])
        while past and past[-1][0] >= place:
            past.pop()
        now = past[-1][1] if past else rule
        past.append((place, now.after(x)))
        return now.choose(x)

    def clear(self) -> None:
        """Forget all rows."""
        self._after.clear()
