"""A function from candidate states and a head to logits: a whole step of decoding."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from stopping.testing.arrays import Floats
from stopping.testing.head import GAINED, VOCABULARY
from stopping.testing.requirement import CallError
from stopping.testing.searching import AbstractSearching, listed
from stopping.testing.states import AbstractOnStates, states_of
from stopping.types import IntArray


@final
@dataclass(frozen=True, eq=False)
class Decoder(AbstractOnStates, AbstractSearching):
    """A decoder.

    It gets residual states `(n, layers, hidden)` and a `Head`; it gives back logits
    `(n, vocabulary)` of the layer that Algorithm 1 chooses for each token.
    """

    signature: ClassVar[str] = "(states, head) -> logits"

    def shape(self, states: Floats) -> tuple[int, ...]:
        """One row of logits for each token."""
        return (len(states), VOCABULARY)

    def calls(self, question: Floats) -> list[tuple[Any, ...]]:
        """Arguments of one call."""
        return [self.given(states_of(question), GAINED)]

    def ask(self, x: Floats, strict: bool = False) -> IntArray:
        """Layer index whose logits the function gives, for each row; the deepest of equals."""
        return self.layers_of(states_of(x), strict)

    def layers_of(self, states: Floats, strict: bool = False) -> IntArray:
        """Layer index whose logits the function gives for each token."""
        found = self.logits(states, strict=strict)
        match = self.near(found[:, None], GAINED(states))
        if not match.any(axis=1).all():
            row = found[int(match.any(axis=1).argmin())]
            said = ", ".join(f"{value:.4g}" for value in row)
            raise CallError(f"gave back the logits of no layer: [{said}]")
        deepest: IntArray = states.shape[1] - 1 - match[:, ::-1].argmax(axis=1)
        return deepest

    def describe(self, layer: IntArray | int, layers: int) -> str:
        """Whose logits."""
        return f"the logits of layer index {listed(np.atleast_1d(layer))} of {layers}"

    def lines(self, question: Floats) -> list[str]:
        """One call."""
        return self.lines_for(states_of(question))
