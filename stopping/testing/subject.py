"""A function under test with its conventions: how it is asked, and how its answers are compared."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stopping.testing.arrays import Dtype, Framework, fitting, same, to_framework, to_numpy
from stopping.testing.conventions import Conventions
from stopping.testing.target import call, import_line, require_usable


@dataclass(frozen=True, eq=False)
class AbstractSubject(Conventions, abc.ABC):
    """What the requirements of all kinds ask.

    A *case* is what Hypothesis draws; the *question* is the batch of one that it makes.

    Attributes
    ----------
    function : the function under test.
    """

    function: Callable[..., Any]

    signature: ClassVar[str]
    """What the function takes and gives, for messages."""
    handed: ClassVar[str]
    """Name of the array that it gets, in printed code."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.own_framework

    @cached_property
    def own_framework(self) -> Framework:
        """The framework whose arrays it gets, found by a trivial call."""
        wanted = fitting(self.framework, self.precisions, self.device)
        return require_usable(self.function, self.trivial, self.signature, wanted)

    @property
    def precisions(self) -> tuple[Dtype, ...]:
        """Precisions that it is asked about."""
        return (self.dtype,)

    @abc.abstractmethod
    def trivial(self, framework: Framework) -> tuple[Any, ...]:
        """Arguments of a call that every function of the kind can answer."""

    @abc.abstractmethod
    def calls(self, question: Any) -> list[tuple[Any, ...]]:
        """Arguments of the calls that ask the question: one, or one for each row."""

    @abc.abstractmethod
    def answer(self, question: Any) -> NDArray[Any]:
        """What the function says, without what is random by design.

        Raises
        ------
        CallError
            If the function raises, or its answer cannot be read.
        """

    @abc.abstractmethod
    def lines(self, question: Any) -> list[str]:
        """Lines of code that ask the question, without the imports."""

    @abc.abstractmethod
    def told(self, answer: NDArray[Any], question: Any) -> str:
        """Put an answer into words."""

    @abc.abstractmethod
    def alike(self, answer: NDArray[Any], other: NDArray[Any]) -> bool:
        """Whether two answers are the same, as far as the tolerance tells; NaN is like nothing."""

    def question(self, case: Any) -> Any:
        """Return the question that a case makes."""
        return case[None]

    def handing(self, values: NDArray[Any], framework: Framework | None = None) -> Any:
        """Return an array in the function's framework and precision."""
        return to_framework(values, framework or self.own_framework, self.dtype, self.device)

    def laid(self, values: NDArray[Any]) -> NDArray[Any]:
        """Lay `(n, layers, ...)` out as the function wants it."""
        turned = values[:, ::-1] if self.order == "deep-first" else values
        return np.moveaxis(turned, 1, self.layer_axis)

    def unlaid(self, values: NDArray[Any]) -> NDArray[Any]:
        """Undo `laid`."""
        turned = np.moveaxis(values, self.layer_axis, 1)
        return turned[:, ::-1] if self.order == "deep-first" else turned

    def mutates_input(self, question: Any) -> bool:
        """Whether the function changes the arrays that it gets."""
        for arguments in self.calls(question):
            arrays = [array for given in arguments for array in getattr(given, "arrays", [given])]
            before = [to_numpy(array).copy() for array in arrays]
            call(self.function, *arguments)
            if not all(same(a, to_numpy(b)) for a, b in zip(before, arrays, strict=True)):
                return True
        return False

    def code(self, *questions: Any) -> str:
        """Code that asks each question in turn."""
        return self.written([line for question in questions for line in self.lines(question)])

    def written(self, lines: list[str]) -> str:
        """Lines with the imports that they need."""
        body = "\n".join(lines)
        used = [m for m, s in (("numpy as np", "np."), ("torch", "torch.")) if s in body]
        imports = [f"import {module}" for module in used]
        if "Head(" in body:
            imports.append("from stopping.testing import Head")
        return "\n".join([*imports, import_line(self.function)[0], "", body])
