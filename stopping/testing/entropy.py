"""A function from logits to entropies, held to Shannon's, in nats, in float64."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from stopping.testing.arrays import Dtype, Floats, Framework, code, to_framework
from stopping.testing.entropy_cases import Rows
from stopping.testing.requirement import CallError
from stopping.testing.subject import AbstractSubject
from stopping.testing.target import call, import_line, returned
from stopping.types import FloatArray


@final
@dataclass(frozen=True, eq=False)
class Entropy(AbstractSubject):
    """A function of logits `(n, vocabulary)` to entropies `(n,)`; masked tokens are -inf."""

    signature: ClassVar[str] = "(logits) -> entropies"
    handed: ClassVar[str] = "z"

    @property
    def precisions(self) -> tuple[Dtype, ...]:
        """Precisions of the logits."""
        return self.dtypes

    @property
    def taken(self) -> tuple[Dtype, ...]:
        """The dtypes that it can be asked about."""
        torch = self.own_framework == "torch"
        return tuple(dtype for dtype in self.dtypes if torch or dtype != "bfloat16")

    def trivial(self, framework: Framework) -> tuple[Any, ...]:
        """Equal logits."""
        dtype = next((d for d in self.dtypes if d != "bfloat16"), self.dtypes[0])
        rows = np.zeros((2, 4) if self.batched else 4)
        return (to_framework(rows, framework, dtype, self.device),)

    def question(self, case: Rows) -> Rows:
        """A case is a question."""
        return case

    def calls(self, question: Rows) -> list[tuple[Any, ...]]:
        """Arguments of one call, or of one for each row."""
        return [
            (to_framework(z, self.own_framework, question.dtype, self.device),)
            for z in self._questions(question.values)
        ]

    def answer(self, question: Rows) -> FloatArray:
        """Entropies."""
        return self.ask(question)

    def told(self, answer: FloatArray, question: Rows) -> str:
        """One number, or a list of several."""
        said = [f"{value:.6g}" for value in answer]
        return said[0] if len(said) == 1 else f"[{', '.join(said)}]"

    def alike(self, answer: FloatArray, other: FloatArray) -> bool:
        """Whether entropies agree within the tolerance."""
        return bool((np.abs(answer - other) <= self.tolerance).all())

    def ask(self, rows: Rows, strict: bool = False) -> FloatArray:
        """Entropies of the rows; `strict` also asks for the very shape and finite numbers."""
        parts = [
            self._read(call(self.function, *given), len(rows.values), strict)
            for given in self.calls(rows)
        ]
        return np.concatenate(parts)

    def lines(self, question: Rows) -> list[str]:
        """One call, or one for each row."""
        name = import_line(self.function)[1]
        return [
            line
            for z in self._questions(question.values)
            for line in (f"z = {self._written(question, z)}", f"print({name}(z))")
        ]

    def _written(self, rows: Rows, z: Floats) -> str:
        if not rows.expression:
            return code(z, self.own_framework, rows.dtype)
        values = rows.expression if self.batched else f"{rows.expression}[0]"
        if self.own_framework == "torch":
            return f"torch.from_numpy({values}).to(torch.{rows.dtype})"
        return f"{values}.astype(np.{rows.dtype})"

    def _questions(self, values: Floats) -> list[Floats]:
        return [values] if self.batched else list(values)

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
