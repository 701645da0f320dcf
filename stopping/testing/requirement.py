"""A requirement: a name, its source, the cases it is asked of, and the judge of each answer.

Hypothesis draws the cases and shrinks a failing one to the smallest that it finds; runs are seeded
and keep no database, so the same function gives the same report, however slow the machine is. The
case that failed is then asked again: an answer that is wrong now and then is reported as such.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from hypothesis import Phase, Verbosity, find, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException, NoSuchExample

from stopping.errors import UserError
from stopping.testing import chance
from stopping.testing.layout import folded, wrapped
from stopping.testing.steady import how_often, repeated

Asked = TypeVar("Asked", contravariant=True)


class Status(StrEnum):
    """Outcome of a requirement."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_ASKED = "not asked"


class CallError(Exception):
    """The tested function raised, or gave back what cannot be read; the text says which."""


class Raised(CallError):
    """The tested function raised an exception."""


@dataclass(frozen=True)
class Discrepancy:
    """What a judge found on one case: what was expected, what came, and code that shows it.

    `chance` says on how many calls with equal input, where that is known and not all of them.
    """

    expected: str
    actual: str
    code: str
    chance: str = ""


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
    chance : str
        Empty for a function that is wrong on this input every time, else on how many calls.
    """

    requirement: str
    source: str
    statement: str
    expected: str
    actual: str
    code: str
    chance: str = ""

    def __str__(self) -> str:
        which = "a" if self.chance else "smallest"
        return "\n".join(
            [
                *wrapped(f"{self.requirement} ({self.source}): {self.statement}"),
                *wrapped(self.expected, "  expected  "),
                *wrapped(self.actual, "  actual    "),
                *wrapped(self.chance, "  "),
                f"  {which} counterexample found, to reproduce:\n",
                *(f"    {line}".rstrip() for line in folded(self.code)),
            ]
        )


class Refuted(Exception):
    """The answer on a case is wrong: what a judge finds, raised."""

    def __init__(self, discrepancy: Discrepancy) -> None:
        super().__init__(discrepancy)
        self.discrepancy = discrepancy


@contextmanager
def expecting(expected: str, code: Callable[[], str]) -> Iterator[None]:
    """Ask for what is `expected`; a function that raises, or gives what cannot be read, is wrong.

    `code` writes the code that shows it.

    Raises
    ------
    Refuted
        Where it does.
    """
    try:
        yield
    except CallError as failure:
        raise Refuted(Discrepancy(expected, str(failure), code())) from failure


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
    judge : None if the answer on a case is right, else what is wrong with it; or raises `Refuted`.
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
        """Ask up to `examples` cases; return the failure on the smallest refuting one, or None.

        Every global random generator is left as it was found.
        """
        seeds = random.Random(f"{self.name} {seed}")
        found: list[tuple[Any, Discrepancy]] = []

        def judged(case: Any) -> Discrepancy | None:
            chance.reseed(seeds.getrandbits(32))
            try:
                return self.judge(subject, case)
            except Refuted as found_wrong:
                return found_wrong.discrepancy

        def refutes(case: Any) -> bool:
            discrepancy = judged(case)
            if discrepancy is not None:
                found[:] = [(case, discrepancy)]
            return discrepancy is not None

        effort = settings(
            max_examples=1 if self.once else examples,
            phases=(Phase.generate,) if self.once else (Phase.generate, Phase.shrink),
            database=None,
            deadline=None,
            verbosity=Verbosity.quiet,  # it remarks on functions that are slow
        )
        with chance.untouched():
            try:
                # Makes no health checks: what is tested may be as slow as it likes.
                find(self.cases(subject), refutes, settings=effort, random=random.Random(seed))
            except NoSuchExample:
                return None
            except HypothesisException as error:
                # Flaky: the answer to a case changed, and what was seen still counts.
                if not found:
                    raise UserError(f"{self.name}: no case could be drawn: {error}") from None
            case, last = found[0]
            often = last.chance
            if not (self.once or often):
                often = how_often(lambda: judged(case) is not None)
        code = repeated(last.code) if often else last.code
        return Failure(
            self.name, self.source, self.statement, last.expected, last.actual, code, often
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
    """Outcome of a suite for one function; `left_out` names what the caller did not want asked."""

    kind: str
    function: str
    results: tuple[Result, ...]
    left_out: tuple[str, ...] = ()

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
