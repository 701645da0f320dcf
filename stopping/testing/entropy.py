"""`check_entropy`: a function from logits to entropies against Shannon's, in nats."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from stopping.errors import UserError
from stopping.testing.arrays import (
    DTYPES,
    Dtype,
    Floats,
    Framework,
    code,
    fitting,
    same,
    to_framework,
    to_numpy,
)
from stopping.testing.entropy_cases import Rows
from stopping.testing.entropy_requirements import ENTROPY
from stopping.testing.requirement import CallError, Report
from stopping.testing.suite import Suite
from stopping.testing.target import call, import_line, name_of, require_usable, returned
from stopping.types import FloatArray

SIGNATURE = "(logits) -> entropies"


@final
@dataclass(frozen=True, eq=False)
class Entropy:
    """A function of logits and its conventions.

    Attributes
    ----------
    function : logits `(n, vocabulary)` to entropies `(n,)`.
    dtypes : precisions of the logits that it takes; the first is that of the basic requirements.
        numpy has no bfloat16: functions of numpy arrays are not asked about it.
    tolerance : float
        Largest error in nats. An error is projection noise: by T4 the search loses at most twice
        as much to it. The default, 1e-3, is above the rounding of float32 sums in pairs or blocks,
        as libraries take them, and below that of half precision. (One running float32 sum over
        50,257 equal tokens is off by 4e-3.)
    batched : bool
        False for a function of one row, `(vocabulary,)` to one number.
    framework, device
        Kind of the array that it gets; "auto" finds out.
    """

    function: Callable[[Any], Any]
    dtypes: tuple[Dtype, ...] = ("float32", "bfloat16", "float16")
    tolerance: float = 1e-3
    batched: bool = True
    framework: Framework = "auto"
    device: str = "cpu"

    def __post_init__(self) -> None:
        unknown = [dtype for dtype in self.dtypes if dtype not in DTYPES]
        if unknown or not self.dtypes:
            raise UserError(f"dtypes: choose from {', '.join(DTYPES)}, got {self.dtypes}")
        if not self.tolerance > 0:
            raise UserError(f"tolerance: must be a number of nats > 0, got {self.tolerance}")
        _ = self.own_framework

    @cached_property
    def own_framework(self) -> Framework:
        """The framework whose arrays it gets."""
        trivial = np.zeros((2, 4) if self.batched else 4)
        dtype = next((d for d in self.dtypes if d != "bfloat16"), self.dtypes[0])
        return require_usable(
            self.function,
            lambda framework: (to_framework(trivial, framework, dtype, self.device),),
            SIGNATURE,
            fitting(self.framework, self.dtypes, self.device),
        )

    @property
    def taken(self) -> tuple[Dtype, ...]:
        """The dtypes that it can be asked about."""
        torch = self.own_framework == "torch"
        return tuple(dtype for dtype in self.dtypes if torch or dtype != "bfloat16")

    def ask(self, rows: Rows, strict: bool = False) -> FloatArray:
        """Entropies of the rows; `strict` also asks for the very shape and finite numbers."""
        parts = [
            self._read(call(self.function, self._given(z, rows.dtype)), len(z), strict)
            for z in self._questions(rows.values)
        ]
        return np.concatenate(parts)

    def mutates_input(self, rows: Rows) -> bool:
        """Whether the function changes the array that it gets."""
        for z in self._questions(rows.values):
            given = self._given(z, rows.dtype)
            before = to_numpy(given).copy()
            call(self.function, given)
            if not same(before, to_numpy(given)):
                return True
        return False

    def code(self, *questions: Rows) -> str:
        """Code that asks about the rows."""
        line, name = import_line(self.function)
        asked = [
            f"z = {self._written(rows, z)}\nprint({name}(z))"
            for rows in questions
            for z in self._questions(rows.values)
        ]
        body = "\n".join(asked)
        used = [m for m, s in (("numpy as np", "np."), ("torch", "torch.")) if s in body]
        return "\n".join([*(f"import {module}" for module in used), line, "", body])

    def _written(self, rows: Rows, z: Floats) -> str:
        if not rows.expression:
            return code(z, self.own_framework, rows.dtype)
        values = rows.expression if self.batched else f"{rows.expression}[0]"
        if self.own_framework == "torch":
            return f"torch.from_numpy({values}).to(torch.{rows.dtype})"
        return f"{values}.astype(np.{rows.dtype})"

    def _questions(self, values: Floats) -> list[Floats]:
        return [values] if self.batched else list(values)

    def _given(self, z: Floats, dtype: Dtype) -> Any:
        return to_framework(z, self.own_framework, dtype, self.device)

    def _read(self, answer: Any, n: int, strict: bool) -> FloatArray:
        count = n if self.batched else 1
        shape = (count,) if self.batched else ()
        found = returned(answer, "numbers")
        if found.dtype.kind != "f":
            raise CallError(f"gave back {found.dtype}, not real numbers")
        if found.size != count or (strict and found.shape != shape):
            raise CallError(f"gave back shape {found.shape} for {count} row(s), expected {shape}")
        flat: FloatArray = found.reshape(-1).astype(np.float64)
        if strict and not np.isfinite(flat).all():
            raise CallError(f"gave back {flat.tolist()}")
        return flat


def entropy_suite(
    function: Callable[[Any], Any], *, examples: int = 100, seed: int = 0, **conventions: Any
) -> Suite[Entropy]:
    """Return the suite of an entropy function, see `check_entropy`."""
    subject = Entropy(function, **conventions)
    return Suite("entropy", name_of(function), subject, ENTROPY, examples, seed)


def check_entropy(
    entropy: Callable[[Any], Any],
    *,
    dtypes: tuple[Dtype, ...] = ("float32", "bfloat16", "float16"),
    tolerance: float = 1e-3,
    batched: bool = True,
    framework: Framework = "auto",
    device: str = "cpu",
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    examples: int = 100,
    seed: int = 0,
) -> Report:
    """Test a function from logits to entropies against Shannon's entropy in float64.

    Parameters
    ----------
    entropy : callable
        Gets logits `(n, vocabulary)`, gives back `(n,)` nats. Masked entries are -inf.
    dtypes, tolerance, batched, framework, device
        The conventions that it follows, see `Entropy`.
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
    return entropy_suite(
        entropy,
        dtypes=dtypes,
        tolerance=tolerance,
        batched=batched,
        framework=framework,
        device=device,
        examples=examples,
        seed=seed,
    ).report(only, without)
