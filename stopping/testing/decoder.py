"""`check_decoder`: a function from candidate states and a head to logits.

The function gets the residual states of the candidate layers, before the final norm, and the
model's `Head`. A trace `x` is turned into states whose lens reads entropies in the same order:

    h[l] = size[l] * sqrt(hidden) * (t[l]/T e_word + sqrt(1 - (t[l]/T)^2) e_silent),

with a head that reads the unit part as one token at logit `t[l]` and all others at 0, so that the
entropy falls as `t[l]` grows. Sizes and tokens differ from layer to layer: who skips the norm, or
mixes layers, gives other logits.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np

from stopping.errors import UserError
from stopping.testing.arrays import (
    Dtype,
    Floats,
    Framework,
    code,
    fitting,
    same,
    to_framework,
    to_numpy,
)
from stopping.testing.decoder_requirements import DECODER
from stopping.testing.head import GAIN, HIDDEN, VOCABULARY, Head, matrix_for
from stopping.testing.requirement import CallError, Report
from stopping.testing.searching import AbstractSearching, Order, listed
from stopping.testing.strategies import GRID
from stopping.testing.suite import Suite
from stopping.testing.target import call, import_line, name_of, require_usable, returned
from stopping.types import BoolArray, FloatArray, IntArray

SIGNATURE = "(states, head) -> logits"


@final
@dataclass(frozen=True, eq=False)
class Decoder(AbstractSearching):
    """A decoder; see `AbstractSearching` for the other conventions.

    Attributes
    ----------
    final_normed : bool
        Whether the final layer's state comes with the norm applied, as in the `hidden_states` of
        transformers; the head's norm is then not to be applied to it again.
    tolerance : float
        Largest error of a logit, relative to the largest or 1.
    """

    final_normed: bool = False
    tolerance: float = 1e-3
    handed: ClassVar[str] = "states"

    def __post_init__(self) -> None:
        if self.layer_axis not in (-3, -2, 0, 1):
            raise UserError(
                f"layer_axis: states have axes tokens, layers, hidden; got {self.layer_axis}"
            )
        if self.dtype not in ("float32", "float64"):
            raise UserError("dtype: in half precision rounding chooses the layer; use float32")
        if not self.tolerance > 0:
            raise UserError(f"tolerance: must be > 0, got {self.tolerance}")
        self.require_sense()

    @property
    def batched(self) -> bool:
        """Decoders take several tokens."""
        return True

    @cached_property
    def own_framework(self) -> Framework:
        """The framework whose arrays it gets."""
        states = states_of(np.ones((2, self.accepted[1])))
        return require_usable(
            self.function,
            lambda framework: (self._given(states, framework), self.head(framework=framework)),
            SIGNATURE,
            fitting(self.framework, (self.dtype,), self.device),
        )

    def head(self, gain: FloatArray = GAIN, framework: Framework | None = None) -> Head:
        """Return the head that reads `states_of`, in the function's framework."""
        kind = framework or self.own_framework
        parts = (gain, matrix_for(gain))
        return Head(*(to_framework(part, kind, self.dtype, self.device) for part in parts))

    def logits(self, states: Floats, gain: FloatArray = GAIN, strict: bool = False) -> FloatArray:
        """Return what the function gives for `(n, layers, hidden)` states, `(n, vocabulary)`."""
        given = self._given(states, self.own_framework, gain)
        answer = call(self.function, given, self.head(gain))
        found = returned(answer, "logits")
        shape = (len(states), VOCABULARY)
        if found.dtype.kind != "f":
            raise CallError(f"gave back {found.dtype}, not logits")
        if found.size != shape[0] * shape[1] or (strict and found.shape != shape):
            raise CallError(f"gave back shape {found.shape}, expected {shape}")
        return found.reshape(shape).astype(np.float64)

    def near(self, found: FloatArray, right: FloatArray) -> BoolArray:
        """Whether logits along the last axis agree within the tolerance, NaN with NaN."""
        scale = np.nanmax(np.abs(right), initial=1.0)
        close = np.isclose(found, right, 0.0, self.tolerance * scale, equal_nan=True)
        agree: BoolArray = np.logical_and.reduce(close, axis=-1)
        return agree

    def ask(self, x: Floats, strict: bool = False) -> IntArray:
        """Layer index whose logits the function gives, for each row; the deepest of equals."""
        states = states_of(x)
        found = self.logits(states, strict=strict)
        match = self.near(found[:, None], Head(GAIN, matrix_for(GAIN))(states))
        if not match.any(axis=1).all():
            row = found[int(match.any(axis=1).argmin())]
            said = ", ".join(f"{value:.4g}" for value in row)
            raise CallError(f"gave back the logits of no layer: [{said}]")
        deepest: IntArray = x.shape[1] - 1 - match[:, ::-1].argmax(axis=1)
        return deepest

    def mutates_input(self, x: Floats) -> bool:
        """Whether the function changes the states or the head."""
        given, head = self._given(states_of(x), self.own_framework), self.head()
        arrays = (given, head.gain, head.matrix)
        before = [to_numpy(array).copy() for array in arrays]
        call(self.function, given, head)
        return not all(same(a, to_numpy(b)) for a, b in zip(before, arrays, strict=True))

    def describe(self, layer: IntArray | int, layers: int) -> str:
        """Whose logits."""
        return f"the logits of layer index {listed(np.atleast_1d(layer))} of {layers}"

    def header(self) -> list[str]:
        """Imports."""
        framework = "torch" if self.own_framework == "torch" else "numpy as np"
        head = "from stopping.testing import Head"
        return [f"import {framework}", import_line(self.function)[0], head]

    def lines(self, x: Floats) -> list[str]:
        """One call."""
        return self.lines_for(states_of(x))

    def lines_for(self, states: Floats, gain: FloatArray = GAIN) -> list[str]:
        """One call on these states."""
        place = self.order.removeprefix("deep-")
        laid = self.laid(self._normed(states, gain))
        head, name = matrix_for(gain), import_line(self.function)[1]
        written = [code(values, self.own_framework, self.dtype) for values in (laid, gain, head)]
        return [
            f"# layer axis {self.layer_axis}, final layer {place}",
            f"states = {written[0]}",
            f"head = Head(gain={written[1]}, matrix={written[2]})",
            f"print({name}(states, head))",
        ]

    def _given(self, states: Floats, framework: Framework, gain: FloatArray = GAIN) -> Any:
        laid = self.laid(self._normed(states, gain))
        return to_framework(laid, framework, self.dtype, self.device)

    def _normed(self, states: Floats, gain: FloatArray) -> Floats:
        if not self.final_normed:
            return states
        normed = states.copy()
        normed[:, -1] = Head(gain, matrix_for(gain)).norm(states[:, -1])
        return normed


def states_of(x: Floats) -> FloatArray:
    """States `(n, layers, hidden)` whose lens orders the layers of each row as `x` does."""
    level = np.round(x / GRID) - 1.0
    layer = np.arange(x.shape[1])
    top = np.maximum(16.0, np.nanmax(level, axis=1, initial=0.0))[:, None]
    cosine = 1.0 - level / top
    seen = np.nan_to_num(level).astype(np.intp)
    size = 2.0 ** ((layer + seen) % 4 - 1)
    states = np.zeros((*x.shape, HIDDEN))
    token = (2 * layer + seen) % VOCABULARY
    np.put_along_axis(states, token[..., None], cosine[..., None], axis=-1)
    states[..., -1] = np.sqrt(1.0 - cosine**2)
    sized: FloatArray = states * (size * np.sqrt(HIDDEN))[..., None]
    return sized


def decoder_suite(
    function: Callable[[Any, Any], Any], *, examples: int = 100, seed: int = 0, **conventions: Any
) -> Suite[Decoder]:
    """Return the suite of a decoder, see `check_decoder`."""
    subject = Decoder(function, **conventions)
    return Suite("decoder", name_of(function), subject, DECODER, examples, seed)


def check_decoder(
    decode: Callable[[Any, Any], Any],
    *,
    K: int = 10,
    layer_axis: int = 1,
    order: Order = "deep-last",
    final_normed: bool = False,
    p: float = 1.0,
    layers: tuple[int, int] | None = None,
    tolerance: float = 1e-3,
    framework: Framework = "auto",
    dtype: Dtype = "float32",
    device: str = "cpu",
    level: float = 1e-4,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    examples: int = 100,
    seed: int = 0,
) -> Report:
    """Test a function from candidate states and a head to logits.

    Parameters
    ----------
    decode : callable
        Gets residual states `(n, layers, hidden)` and a `Head`; gives back logits
        `(n, vocabulary)` of the layer that Algorithm 1 chooses for each token.
    K, layer_axis, order, p, layers, framework, dtype, device, level
        The conventions that it follows, see `AbstractSearching`.
    final_normed, tolerance
        See `Decoder`.
    only, without : names of requirements, or patterns such as "*window"
        Ask those of `only` alone, whatever they presuppose; leave those of `without` out.
    examples, seed
        Most cases for each requirement, and their seed.

    Returns
    -------
    Report
        With `passed`, `failures`, and `require()` that raises `ConformanceError`.

    Raises
    ------
    UserError
        If a convention is impossible, or the function cannot be called on trivial input.
    """
    return decoder_suite(
        decode,
        K=K,
        layer_axis=layer_axis,
        order=order,
        final_normed=final_normed,
        p=p,
        layers=layers,
        tolerance=tolerance,
        framework=framework,
        dtype=dtype,
        device=device,
        level=level,
        examples=examples,
        seed=seed,
    ).report(only, without)
