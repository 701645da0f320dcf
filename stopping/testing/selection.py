"""`check_selection`: a function from entropies to layers against Algorithm 1, T1 and T2."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeAlias, final

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
from stopping.testing.requirement import CallError, Report
from stopping.testing.searching import AbstractSearching, Order, listed
from stopping.testing.selection_requirements import SELECTION
from stopping.testing.suite import Suite
from stopping.testing.target import call, import_line, name_of, require_usable, returned
from stopping.types import IntArray

Returns: TypeAlias = Literal["index", "depth"]
SIGNATURE = "(entropies) -> layers"


@final
@dataclass(frozen=True, eq=False)
class Selection(AbstractSearching):
    """A function of entropies; see `AbstractSearching` for the other conventions.

    Attributes
    ----------
    takes_batches : bool
        False for a function of one token, `(layers,)` to one number.
    returns : "index" or "depth"
        Position on the layer axis, or steps back from the final layer.
    """

    takes_batches: bool = True
    returns: Returns = "index"
    handed: ClassVar[str] = "x"

    def __post_init__(self) -> None:
        if self.layer_axis not in (-2, -1, 0, 1):
            raise UserError(f"layer_axis: a batch has axes 0 and 1, got {self.layer_axis}")
        if self.returns not in ("index", "depth"):
            raise UserError(f"returns: choose index or depth, got {self.returns!r}")
        self.require_sense()

    @property
    def batched(self) -> bool:
        """Whether the function takes several tokens at once."""
        return self.takes_batches

    @cached_property
    def own_framework(self) -> Framework:
        """The framework whose arrays it gets."""
        trivial = self._questions(np.ones((2, self.accepted[1])))[0]
        return require_usable(
            self.function,
            lambda framework: (to_framework(trivial, framework, self.dtype, self.device),),
            SIGNATURE,
            fitting(self.framework, (self.dtype,), self.device),
        )

    def ask(self, x: Floats, strict: bool = False) -> IntArray:
        """Layer index of each row of `x`: one call, or one for each row."""
        parts = [
            self._read(call(self.function, self._given(rows)), x.shape, strict)
            for rows in self._questions(x)
        ]
        return np.concatenate(parts)

    def mutates_input(self, x: Floats) -> bool:
        """Whether the function changes the array that it gets."""
        for rows in self._questions(x):
            given = self._given(rows)
            before = to_numpy(given).copy()
            call(self.function, given)
            if not same(before, to_numpy(given)):
                return True
        return False

    def describe(self, layer: IntArray | int, layers: int) -> str:
        """Layers in the function's own convention, with the plain index where that differs."""
        index = np.atleast_1d(layer)
        plain = f"layer index {listed(index)} of {layers}"
        if self.returns == "index" and self.order == "deep-last":
            return plain
        return f"{self.returns} {listed(layers - 1 - index)} ({plain}, final layer last)"

    def header(self) -> list[str]:
        """Imports."""
        framework = "torch" if self.own_framework == "torch" else "numpy as np"
        return [f"import {framework}", import_line(self.function)[0]]

    def lines(self, x: Floats) -> list[str]:
        """One call, or one for each row."""
        name, place = import_line(self.function)[1], self.order.removeprefix("deep-")
        lines = [f"# final layer {place}"]
        for rows in self._questions(x):
            lines.append(f"x = {code(rows, self.own_framework, self.dtype)}")
            lines.append(f"print({name}(x))")
        return lines

    def _questions(self, x: Floats) -> list[Floats]:
        if self.batched:
            return [self.laid(x)]
        return list(x[:, ::-1] if self.order == "deep-first" else x)

    def _given(self, rows: Floats) -> Any:
        return to_framework(rows, self.own_framework, self.dtype, self.device)

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


def selection_suite(
    function: Callable[[Any], Any],
    *,
    batched: bool = True,
    layer_axis: int = -1,
    examples: int = 100,
    seed: int = 0,
    **conventions: Any,
) -> Suite[Selection]:
    """Return the suite of a selection function, see `check_selection`."""
    subject = Selection(function, takes_batches=batched, layer_axis=layer_axis, **conventions)
    return Suite("selection", name_of(function), subject, SELECTION, examples, seed)


def check_selection(
    select: Callable[[Any], Any],
    *,
    K: int = 10,
    layer_axis: int = -1,
    order: Order = "deep-last",
    batched: bool = True,
    returns: Returns = "index",
    p: float = 1.0,
    layers: tuple[int, int] | None = None,
    framework: Framework = "auto",
    dtype: Dtype = "float32",
    device: str = "cpu",
    level: float = 1e-4,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    examples: int = 100,
    seed: int = 0,
) -> Report:
    """Test a function from entropies to layers against Algorithm 1, T1 and T2.

    Parameters
    ----------
    select : callable
        Gets entropies `(n, layers)` in nats, gives back `(n,)` layers. Its window and its random
        generator are its own; `functools.partial` binds them.
    K : int
        Most steps back that it takes.
    layer_axis, order
        Axis of the layers, and whether the final one is "deep-last" or "deep-first" on it.
    batched : bool
        False if it takes one token, `(layers,)`, and gives back one number.
    returns : "index" or "depth"
        Position on the layer axis, or steps back from the final layer.
    p, level
        Probability of the search; level of the tests of frequencies.
    layers : (least, most), optional
        Numbers of layers that it accepts; default 1 to `K + 4`.
    framework, dtype, device
        The array that it gets; "auto" tries numpy, then torch if that is loaded.
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
    return selection_suite(
        select,
        K=K,
        layer_axis=layer_axis,
        order=order,
        batched=batched,
        returns=returns,
        p=p,
        layers=layers,
        framework=framework,
        dtype=dtype,
        device=device,
        level=level,
        examples=examples,
        seed=seed,
    ).report(only, without)
