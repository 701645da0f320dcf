"""A function from states and a head to the logits of every layer: a lens evaluation."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from stopping.testing.arrays import Floats
from stopping.testing.head import GAINED, VOCABULARY, Head
from stopping.testing.states import AbstractOnStates
from stopping.types import FloatArray


@dataclass(frozen=True, eq=False)
class Stack:
    """States `(n, layers, hidden)` and the head that they are read through."""

    states: FloatArray
    head: Head = GAINED


@final
@dataclass(frozen=True, eq=False)
class Lens(AbstractOnStates):
    """A lens evaluation.

    It gets the residual states `(n, layers, hidden)` behind every layer and a `Head`; it gives back
    logits `(n, layers, vocabulary)`, with the layers on the axis on which it got them.
    """

    signature: ClassVar[str] = "(states, head) -> logits of every layer"

    def shape(self, states: Floats) -> tuple[int, ...]:
        """A row of logits for each token and layer."""
        return (*states.shape[:2], VOCABULARY)

    def question(self, case: Stack) -> Stack:
        """A case is a question."""
        return case

    def calls(self, question: Stack) -> list[tuple[Any, ...]]:
        """Arguments of one call."""
        return [self.given(question.states, question.head)]

    def answer(self, question: Stack) -> FloatArray:
        """Logits."""
        return self.logits(question.states, question.head)

    def told(self, answer: FloatArray, question: Stack) -> str:
        """The logits, rounded."""
        return f"logits {np.round(answer, 4).tolist()}"

    def alike(self, answer: FloatArray, other: FloatArray) -> bool:
        """Whether logits agree within the tolerance."""
        return not np.isnan(answer).any() and bool(self.near(answer, other).all())

    def lines(self, question: Stack) -> list[str]:
        """One call."""
        return self.lines_for(question.states, question.head)
