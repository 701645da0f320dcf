"""A function from entropies to layers, held to Algorithm 1, T1 and T2."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from stopping.errors import UserError
from stopping.testing.arrays import Floats, Framework, code
from stopping.testing.requirement import CallError
from stopping.testing.searching import AbstractSearching, listed
from stopping.testing.target import call, import_line, returned
from stopping.types import IntArray


@final
@dataclass(frozen=True, eq=False)
class Selection(AbstractSearching):
    """A function of entropies.

    It gets entropies `(n, layers)` in nats and gives back `(n,)` layers. Its window and its random
    generator are its own; `functools.partial` binds them.
    """

    signature: ClassVar[str] = "(entropies) -> layers"
    handed: ClassVar[str] = "x"

    def __post_init__(self) -> None:
        if self.layer_axis not in (-2, -1, 0, 1):
            raise UserError(f"layer_axis: a batch has axes 0 and 1, got {self.layer_axis}")
        super().__post_init__()

    def trivial(self, framework: Framework) -> tuple[Any, ...]:
        """Two tokens, or one."""
        return (self.handing(self._questions(np.ones((2, self.accepted[1])))[0], framework),)

    def ask(self, x: Floats, strict: bool = False) -> IntArray:
        """Layer index of each row of `x`: one call, or one for each row."""
        parts = [
            self._read(call(self.function, *given), x.shape, strict) for given in self.calls(x)
        ]
        return np.concatenate(parts)

    def describe(self, layer: IntArray | int, layers: int) -> str:
        """Layers in the function's own convention, with the plain index where that differs."""
        index = np.atleast_1d(layer)
        plain = f"layer index {listed(index)} of {layers}"
        if self.returns == "index" and self.order == "deep-last":
            return plain
        return f"{self.returns} {listed(layers - 1 - index)} ({plain}, final layer last)"

    def lines(self, x: Floats) -> list[str]:
        """One call, or one for each row."""
        name, place = import_line(self.function)[1], self.order.removeprefix("deep-")
        lines = [f"# final layer {place}"]
        for rows in self._questions(x):
            lines.append(f"x = {code(rows, self.own_framework, self.dtype)}")
            lines.append(f"print({name}(x))")
        return lines

    def calls(self, question: Floats) -> list[tuple[Any, ...]]:
        """Arguments of one call, or of one for each row."""
        return [(self.handing(rows),) for rows in self._questions(question)]

    def _questions(self, x: Floats) -> list[Floats]:
        if self.batched:
            return [self.laid(x)]
        return list(x[:, ::-1] if self.order == "deep-first" else x)

    def _read(self, answer: Any, of: tuple[int, ...], strict: bool) -> IntArray:
        n, layers = of
        shape = (n,) if self.batched else ()
        found = returned(answer, "numbers")
        kind = found.dtype.kind
        whole = kind == "f" and bool((found == np.round(found)).all() and np.isfinite(found).all())
        if kind not in "iu" and (strict or not whole):
            raise CallError(f"gave back {found.dtype} of shape {found.shape}, not whole numbers")
        if found.shape != shape and (strict or found.size != math.prod(shape)):
            raise CallError(f"gave back shape {found.shape} for {n} token(s), expected {shape}")
        flat = found.reshape(-1)
        if (flat < 0).any() or (flat >= layers).any():
            raise CallError(f"gave back {self.returns} {listed(flat)} with {layers} layers")
        flat = flat.astype(np.intp)
        counted_back = self.returns == "depth" or self.order == "deep-first"
        return layers - 1 - flat if counted_back else flat
