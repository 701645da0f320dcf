"""What selection functions and decoders share: a search whose answer is a layer.

Requirements speak of traces `x`, (n, layers), final layer last, and of layer indices. A subject
turns them into the calls that its function understands, and the answers back.
"""

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stopping.testing.arrays import Floats
from stopping.testing.requirement import CallError
from stopping.testing.subject import AbstractSubject
from stopping.types import IntArray

# Chance, per question, that a right implementation's fallbacks hide what its search chose.
MISSED = 1e-9
MOST_COPIES = 512


@dataclass(frozen=True, eq=False)
class AbstractSearching(AbstractSubject):
    """A function that searches; its questions are traces."""

    @abc.abstractmethod
    def ask(self, x: Floats, strict: bool = False) -> IntArray:
        """Layer index that the function chooses for each row of the trace `x`.

        Raises
        ------
        CallError
            If the function raises, or its answer is not one layer for each row; `strict` also
            asks for the very type and shape.
        """

    @abc.abstractmethod
    def describe(self, layer: IntArray | int, layers: int) -> str:
        """Layers in the function's own terms."""

    def answer(self, question: Floats) -> IntArray:
        """Layers that the search chooses."""
        return self.searched(question)

    def told(self, answer: NDArray[Any], question: Floats) -> str:
        """Layers in the function's own terms."""
        return self.describe(answer, question.shape[1])

    def alike(self, answer: NDArray[Any], other: NDArray[Any]) -> bool:
        """Whether the layers are the same."""
        return bool(np.array_equal(answer, other))

    @property
    def copies(self) -> int:
        """How often a row is asked so that its fallbacks do not hide what the search chose."""
        if not self.drawn:
            return 1
        heads = math.log(MISSED) / math.log(max(self.p, 1.0 - self.p))
        return min(MOST_COPIES, math.ceil(heads))

    def searched(self, x: Floats, ask: Callable[[Floats], IntArray] | None = None) -> IntArray:
        """Like `ask`, but for the search alone: fallbacks to the final layer are looked through."""
        ask = ask or self.ask
        if self.copies == 1:
            return ask(x)
        answers = ask(np.repeat(x, self.copies, axis=0)).reshape(len(x), self.copies)
        return np.array([self._of_search(row, x.shape[1] - 1) for row in answers], dtype=np.intp)

    def _of_search(self, answers: IntArray, last: int) -> int:
        left = np.unique(answers[answers != last])
        if len(left) > 1:
            raise CallError(
                f"chose layers {[*left.tolist(), last]} for copies of one token; expected one "
                "layer, and the final one where it falls back"
            )
        return int(left[0]) if len(left) else last


def listed(index: IntArray) -> str:
    """One number, or a list of several."""
    return str(int(index[0])) if len(index) == 1 else str(index.tolist())
