"""A requirement: a name, its source, the cases it is asked of, and the judge of each answer.

A suite asks requirements in order. A requirement may *presuppose* others: where one of those has
failed it is not asked, so that one mistake is reported once, at the simplest requirement that it
breaks. Asked alone (`only`), it presupposes nothing.

Hypothesis draws the cases and shrinks a failing one to the smallest that it finds; runs are seeded
and keep no database, so the same function gives the same report.
"""

import functools
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, NoSuchExample

from stopping.errors import UserError

Subject = TypeVar("Subject")
Asked = TypeVar("Asked", contravariant=True)


class Status(StrEnum):
    """Outcome of a requirement."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_ASKED = "not asked"


class Trouble(Exception):
    """The tested function raised, or gave back what cannot be read; the text says which."""


class Raised(Trouble):
    """The tested function raised an exception."""


@dataclass(frozen=True)
class Discrepancy:
    """What a judge found on one case: what was expected, what came, and code that shows it."""

    expected: str
    actual: str
    code: str


@dataclass(frozen=True)
class Failure:
    """A requirement that does not hold, with the smallest counterexample found.

    Attributes
    ----------
    requirement, source, statement : str
        Name; theorem label or "Algorithm 1"; what must hold.
    expected, actual : str
    code : str
        A few lines of Python that reproduce it.
    """

    requirement: str
    source: str
    statement: str
    expected: str
    actual: str
    code: str

    def __str__(self) -> str:
        indented = "\n".join(f"    {line}".rstrip() for line in self.code.splitlines())
        return (
            f"{self.requirement} ({self.source}): {self.statement}\n"
            f"  expected  {self.expected}\n"
            f"  actual    {self.actual}\n"
            f"  smallest counterexample found, to reproduce:\n\n{indented}"
        )


class ConformanceError(AssertionError):
    """One or more requirements do not hold."""


@dataclass(frozen=True)
class Requirement(Generic[Asked]):
    """One thing that an implementation must do.

    Attributes
    ----------
    name : short and unique within its kind.
    source : theorem label, or "Algorithm 1".
    statement : what must hold, one sentence.
    cases : strategy of the cases to ask, given the subject.
    judge : None if the answer on a case is right, else what is wrong with it.
    presupposes : names of requirements without which this one says nothing new.
    applies : why it cannot be asked of this subject, empty if it can.
    once : ask one case only; for statistical requirements, whose verdict has a declared level.
    """

    name: str
    source: str
    statement: str
    cases: Callable[[Asked], st.SearchStrategy[Any]]
    judge: Callable[[Asked, Any], Discrepancy | None]
    presupposes: tuple[str, ...] = ()
    applies: Callable[[Asked], str] = lambda subject: ""
    once: bool = False

    def check(self, subject: Asked, examples: int = 100, seed: int = 0) -> Failure | None:
        """Ask up to `examples` cases; return the failure on the smallest refuting one, or None."""
        found: list[Discrepancy] = []

        def refutes(case: Any) -> bool:
            discrepancy = self.judge(subject, case)
            if discrepancy is not None:
                found[:] = [discrepancy]
            return discrepancy is not None

        effort = settings(
            max_examples=1 if self.once else examples,
            phases=(Phase.generate,) if self.once else (Phase.generate, Phase.shrink),
            database=None,
            deadline=None,
        )
        try:
            find(self.cases(subject), refutes, settings=effort, random=random.Random(seed))
        except NoSuchExample:
            return None
        except Flaky:
            # The function's answer changed when it was asked again: what was seen still counts.
            pass
        last = found[-1]
        return Failure(
            self.name, self.source, self.statement, last.expected, last.actual, last.code
        )


@dataclass(frozen=True)
class Result:
    """Outcome of one requirement: `note` says why it was not asked, `failure` what went wrong."""

    requirement: str
    source: str
    statement: str
    status: Status
    seconds: float
    note: str
    failure: Failure | None


@dataclass(frozen=True)
class Report:
    """Outcome of a suite for one function."""

    kind: str
    function: str
    results: tuple[Result, ...]

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What went wrong."""
        return tuple(r.failure for r in self.results if r.failure is not None)

    @property
    def passed(self) -> bool:
        """Whether no requirement failed."""
        return not self.failures

    def require(self) -> None:
        """Raise `ConformanceError` with every failure, if there is one."""
        if self.failures:
            raise ConformanceError("\n\n".join(map(str, self.failures)))


class Suite(Generic[Subject]):
    """All requirements of one kind for one subject; each is asked at most once.

    Parameters
    ----------
    kind, function : str
        What is tested, and the name of the tested function.
    subject
        The function with the conventions that it follows.
    requirements : in the order of the report; presupposed ones come first.
    examples, seed : effort for each requirement.
    """

    def __init__(
        self,
        kind: str,
        function: str,
        subject: Subject,
        requirements: Iterable[Requirement[Subject]],
        examples: int = 100,
        seed: int = 0,
    ) -> None:
        if examples < 1:
            raise UserError(f"examples: need at least 1, got {examples}")
        self.kind, self.function, self.subject = kind, function, subject
        self.requirements: Mapping[str, Requirement[Subject]] = {r.name: r for r in requirements}
        self._examples, self._seed = examples, seed
        self._result = functools.cache(self._ask)

    def applicable(self) -> tuple[str, ...]:
        """Names of the requirements that can be asked of this subject."""
        return tuple(name for name, r in self.requirements.items() if not r.applies(self.subject))

    def result(self, name: str, alone: bool = False) -> Result:
        """Outcome of one requirement; `alone` asks it whatever it presupposes."""
        if name not in self.requirements:
            names = ", ".join(self.requirements)
            raise UserError(f"no requirement {name!r} for {self.kind}; choose from {names}")
        return self._result(name, alone)

    def report(
        self, only: Iterable[str] = (), advance: Callable[[str], None] = lambda name: None
    ) -> Report:
        """Outcomes of all requirements, or of those in `only`, each then alone."""
        chosen = tuple(only)
        results = []
        for name in chosen or self.requirements:
            advance(name)
            results.append(self.result(name, alone=bool(chosen)))
        return Report(self.kind, self.function, tuple(results))

    def _ask(self, name: str, alone: bool) -> Result:
        requirement = self.requirements[name]

        def result(
            status: Status, seconds: float = 0.0, note: str = "", failure: Failure | None = None
        ) -> Result:
            r = requirement
            return Result(r.name, r.source, r.statement, status, seconds, note, failure)

        note = requirement.applies(self.subject)
        if note:
            return result(Status.NOT_ASKED, note=note)
        for needed in () if alone else requirement.presupposes:
            earlier = self._result(needed, False)
            blocked = earlier.note.startswith("presupposes")
            if earlier.status is Status.FAILED or blocked:
                return result(Status.NOT_ASKED, note=f"presupposes {needed}")
        start = time.perf_counter()
        failure = requirement.check(self.subject, self._examples, self._seed)
        seconds = time.perf_counter() - start
        return result(Status.FAILED if failure else Status.PASSED, seconds, failure=failure)
