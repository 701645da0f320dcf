"""What decoders and lenses share: they get residual states, before the final norm, and a head.

A trace `x` is turned into states whose layers read entropies in the same order:

    h[l] = size[l] * sqrt(hidden) * (t[l]/T e_token + sqrt(1 - (t[l]/T)^2) e_silent),

with a head that reads the unit part as one token at logit `t[l]` and all others at 0, so that the
entropy falls as `t[l]` grows. Sizes and tokens differ from layer to layer: who skips the norm, or
mixes layers, gives other logits.
"""

import abc
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stopping.errors import UserError
from stopping.testing.arrays import Floats, Framework, code
from stopping.testing.head import GAINED, HIDDEN, SHARPEST, VOCABULARY, Head
from stopping.testing.requirement import CallError
from stopping.testing.strategies import GRID
from stopping.testing.subject import AbstractSubject
from stopping.testing.target import call, import_line, returned
from stopping.types import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class AbstractOnStates(AbstractSubject):
    """A function of states `(n, layers, hidden)` and a `Head`."""

    handed: ClassVar[str] = "states"

    def __post_init__(self) -> None:
        if self.layer_axis not in (-3, -2, 0, 1):
            raise UserError(
                f"layer_axis: states have axes tokens, layers, hidden; got {self.layer_axis}"
            )
        if self.dtype not in ("float32", "float64"):
            raise UserError("dtype: in half precision rounding hides what is wrong; use float32")
        super().__post_init__()

    @abc.abstractmethod
    def shape(self, states: Floats) -> tuple[int, ...]:
        """Shape of the logits that it gives back, final layer last."""

    def trivial(self, framework: Framework) -> tuple[Any, ...]:
        """Two tokens."""
        return self.given(states_of(np.ones((2, self.accepted[1]))), GAINED, framework)

    def given(
        self, states: Floats, head: Head, framework: Framework | None = None
    ) -> tuple[Any, Head]:
        """Arguments of a call."""
        arrays = (self.handing(array, framework) for array in head.arrays)
        laid = self.laid(self._normed(states, head))
        return self.handing(laid, framework), _with_arrays(head, *arrays)

    def logits(self, states: Floats, head: Head = GAINED, strict: bool = False) -> FloatArray:
        """Return what the function gives, in the shape of `shape`; `strict` asks for that shape.

        Raises
        ------
        CallError
            If the function raises, or its answer is no such array of logits.
        """
        found = returned(call(self.function, *self.given(states, head)), "logits")
        shape = self.shape(states)
        if found.dtype.kind != "f":
            raise CallError(f"gave back {found.dtype}, not logits")
        if len(shape) == 3 and found.ndim == 3:
            found = self.unlaid(found)
        if found.size != np.prod(shape) or (strict and found.shape != shape):
            raise CallError(f"gave back shape {found.shape}, expected {shape}")
        return found.reshape(shape).astype(np.float64)

    def near(self, found: FloatArray, right: FloatArray) -> BoolArray:
        """Whether logits along the last axis agree within the tolerance, NaN with NaN."""
        scale = np.nanmax(np.abs(right), initial=1.0)
        close = np.isclose(found, right, 0.0, self.tolerance * scale, equal_nan=True)
        agree: BoolArray = np.logical_and.reduce(close, axis=-1)
        return agree

    def lines_for(self, states: Floats, head: Head = GAINED) -> list[str]:
        """One call on these states."""
        laid = self.laid(self._normed(states, head))
        names = ("gain", "matrix", "bias")
        parts = [f"{n}={self._written(a)}" for n, a in zip(names, head.arrays, strict=False)]
        parts += [f"{n}={v:g}" for n, v in (("scale", head.scale),) if v != 1.0]
        parts += [f"{n}={v:g}" for n, v in (("cap", head.cap),) if v]
        return [
            f"# layer axis {self.layer_axis}, final layer {self.order.removeprefix('deep-')}",
            f"states = {self._written(laid)}",
            f"head = Head({', '.join(parts)})",
            f"print({import_line(self.function)[1]}(states, head))",
        ]

    def _written(self, values: NDArray[Any]) -> str:
        return code(values, self.own_framework, self.dtype)

    def _normed(self, states: Floats, head: Head) -> Floats:
        if not self.final_normed:
            return states
        normed = states.copy()
        normed[:, -1] = head.norm(states[:, -1])
        return normed


def _with_arrays(head: Head, gain: Any, matrix: Any, bias: Any = None) -> Head:
    return replace(head, gain=gain, matrix=matrix, bias=bias)


def states_of(x: Floats) -> FloatArray:
    """States `(n, layers, hidden)` whose entropies order the layers of each row as `x` does."""
    level = np.round(x / GRID) - 1.0
    layer = np.arange(x.shape[1])
    top = np.maximum(16.0, np.nanmax(level, axis=1, initial=0.0))[:, None]
    cosine = 1.0 - level / top
    seen = np.nan_to_num(level).astype(np.intp)
    logits = np.zeros((*x.shape, VOCABULARY))
    token = (2 * layer + seen) % VOCABULARY
    np.put_along_axis(logits, token[..., None], SHARPEST * cosine[..., None], axis=-1)
    return sized(logits, 2.0 ** ((layer + seen) % 4 - 1))


def sized(logits: Floats, size: Floats | float = 1.0) -> FloatArray:
    """States of a size `(n, layers)` which a head that undoes its gain reads as these logits."""
    states = np.zeros((*logits.shape[:-1], HIDDEN))
    states[..., :VOCABULARY] = logits / SHARPEST
    silent = 1.0 - (states**2).sum(axis=-1)
    states[..., -1] = np.sqrt(np.maximum(silent, 0.0))
    found: FloatArray = states * (np.asarray(size)[..., None] * np.sqrt(HIDDEN))
    return found
