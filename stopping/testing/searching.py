"""What selection functions and decoders share: a window, a fallback, and how a batch is laid out.

Requirements speak of traces `x`, (n, layers), final layer last, and of layer indices. A subject
turns them into the calls that its function understands, and the answers back.
"""

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from stopping.errors import UserError
from stopping.testing.arrays import Dtype, Floats, Framework
from stopping.testing.requirement import CallError
from stopping.testing.target import Fallback
from stopping.types import IntArray

Order: TypeAlias = Literal["deep-last", "deep-first"]

# Chance, per question, that a right implementation's fallbacks hide what its search chose.
MISSED = 1e-9
MOST_COPIES = 512


@dataclass(frozen=True, eq=False)
class AbstractSearching(abc.ABC):
    """A function that searches, and its conventions.

    Attributes
    ----------
    function : the function under test.
    K : int
        Most steps back that it takes.
    layer_axis : int
        Axis of the layers in the batch that it gets, counted from the front: 1 for
        `(n, layers, ...)`, 0 for `(layers, n, ...)`.
    order : "deep-last" or "deep-first"
        Where the final layer lies on that axis.
    p : float
        Probability of the search; with `1 - p` a token keeps the final layer.
    level : float
        Chance that a right implementation is rejected by a test of frequencies.
    layers : (least, most), optional
        Numbers of layers that it accepts; default 1 to `K + 4`.
    framework, dtype, device
        Kind and precision of the arrays that it gets; "auto" finds out.
    """

    function: Callable[..., Any]
    K: int = 10
    layer_axis: int = 1
    order: Order = "deep-last"
    p: float = 1.0
    level: float = 1e-4
    layers: tuple[int, int] | None = None
    framework: Framework = "auto"
    dtype: Dtype = "float32"
    device: str = "cpu"

    handed: ClassVar[str]
    """Name of the array that it gets, in printed code."""

    @property
    @abc.abstractmethod
    def batched(self) -> bool:
        """Whether the function takes several tokens at once."""

    @property
    @abc.abstractmethod
    def own_framework(self) -> Framework:
        """The framework whose arrays it gets, found by a trivial call."""

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
    def mutates_input(self, x: Floats) -> bool:
        """Whether the function changes the arrays that it gets."""

    @abc.abstractmethod
    def describe(self, layer: IntArray | int, layers: int) -> str:
        """Layers in the function's own terms."""

    @abc.abstractmethod
    def lines(self, x: Floats) -> list[str]:
        """Lines of code that ask about `x`, without the imports."""

    @abc.abstractmethod
    def header(self) -> list[str]:
        """Lines of code that import what `lines` needs."""

    def code(self, *questions: Floats) -> str:
        """Code that asks about each trace in turn."""
        asked = [line for x in questions for line in self.lines(x)]
        return "\n".join([*self.header(), "", *asked])

    def require_sense(self) -> None:
        """Raise `UserError` unless the conventions are possible and a trivial call works."""
        if self.K < 1:
            raise UserError(f"K: with K = {self.K} there is nothing to search, need at least 1")
        if self.order not in ("deep-last", "deep-first"):
            raise UserError(f"order: choose deep-last or deep-first, got {self.order!r}")
        low, high = self.accepted
        if not (1 <= low <= high and high >= 2):
            raise UserError(f"layers: need 1 <= least <= most, most >= 2, got {self.layers}")
        _ = self.random, self.own_framework

    @cached_property
    def random(self) -> Fallback:
        """The fallback."""
        return Fallback(self.p, self.level)

    @property
    def accepted(self) -> tuple[int, int]:
        """Least and most layers that it accepts."""
        return self.layers or (1, self.K + 4)

    @property
    def copies(self) -> int:
        """How often a row is asked so that its fallbacks do not hide what the search chose."""
        if not self.random.drawn:
            return 1
        heads = math.log(MISSED) / math.log(max(self.p, 1.0 - self.p))
        return min(MOST_COPIES, math.ceil(heads))

    def searched(self, x: Floats) -> IntArray:
        """Like `ask`, but for the search alone: fallbacks to the final layer are looked through."""
        if self.copies == 1:
            return self.ask(x)
        answers = self.ask(np.repeat(x, self.copies, axis=0)).reshape(len(x), self.copies)
        return np.array([self._of_search(row, x.shape[1] - 1) for row in answers], dtype=np.intp)

    def _of_search(self, answers: IntArray, last: int) -> int:
        left = np.unique(answers[answers != last])
        if len(left) > 1:
            raise CallError(
                f"chose layers {[*left.tolist(), last]} for copies of one token; expected one "
                "layer, and the final one where it falls back"
            )
        return int(left[0]) if len(left) else last

    def laid(self, values: Floats) -> Floats:
        """Lay `(n, layers, ...)` out as the function wants it."""
        turned = values[:, ::-1] if self.order == "deep-first" else values
        return np.moveaxis(turned, 1, self.layer_axis)


def listed(index: IntArray) -> str:
    """One number, or a list of several."""
    return str(int(index[0])) if len(index) == 1 else str(index.tolist())
