"""A suite: the requirements of one kind, asked in order.

A requirement may *presuppose* others: where one of those has failed it is not asked, so that one
mistake is reported once, at the simplest requirement that it breaks. Asked alone (`only`), it
presupposes nothing; what is left out (`without`) nobody presupposes.
"""

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Generic, TypeVar

from stopping.errors import UserError
from stopping.testing.requirement import Failure, Report, Requirement, Result, Status

Subject = TypeVar("Subject")


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

    def chosen(self, only: Iterable[str] = (), without: Iterable[str] = ()) -> tuple[str, ...]:
        """Names that match a pattern of `only`, or all, without those that match one of `without`.

        Raises
        ------
        UserError
            If a pattern matches no name, or no name is left.
        """
        wanted, unwanted = patterns(only), patterns(without)
        names = ", ".join(self.requirements)
        for pattern in (*wanted, *unwanted):
            if not any(fnmatchcase(name, pattern) for name in self.requirements):
                raise UserError(f"no requirement {pattern!r} for {self.kind}; choose from {names}")

        def fits(name: str, some: tuple[str, ...]) -> bool:
            return any(fnmatchcase(name, pattern) for pattern in some)

        left = tuple(
            name
            for name in self.requirements
            if (not wanted or fits(name, wanted)) and not fits(name, unwanted)
        )
        if not left:
            raise UserError(f"no requirement is left to ask; {self.kind} has {names}")
        return left

    def result(self, name: str, alone: bool = False, left_out: Iterable[str] = ()) -> Result:
        """Outcome of one requirement.

        `alone` asks it whatever it presupposes; nothing presupposes what is `left_out`.
        """
        self.chosen(name)
        return self._result(name, alone, frozenset(left_out))

    def report(
        self,
        only: Iterable[str] = (),
        without: Iterable[str] = (),
        advance: Callable[[str], None] = lambda name: None,
    ) -> Report:
        """Outcomes of all requirements but `without`, or of those in `only`, each then alone."""
        wanted = patterns(only)
        chosen = self.chosen(wanted, without)
        left_out = tuple(name for name in self.requirements if name not in chosen)
        results = []
        for name in chosen:
            advance(name)
            results.append(self.result(name, bool(wanted), left_out))
        return Report(self.kind, self.function, tuple(results), left_out)

    def _ask(self, name: str, alone: bool, left_out: frozenset[str]) -> Result:
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
            if needed in left_out:
                continue
            earlier = self._result(needed, False, left_out)
            blocked = earlier.note.startswith("presupposes")
            if earlier.status is Status.FAILED or blocked:
                return result(Status.NOT_ASKED, note=f"presupposes {needed}")
        start = time.perf_counter()
        failure = requirement.check(self.subject, self._examples, self._seed)
        seconds = time.perf_counter() - start
        return result(Status.FAILED if failure else Status.PASSED, seconds, failure=failure)


def patterns(names: Iterable[str]) -> tuple[str, ...]:
    """Return patterns of names; a single text is one of them."""
    return (names,) if isinstance(names, str) else tuple(names)
