"""How answers are judged whatever the kind: that nothing but the question decides them."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from stopping.testing.requirement import Discrepancy, Requirement, expecting
from stopping.testing.steady import CALLS, other_answers
from stopping.testing.subject import AbstractSubject


def unchanged(subject: AbstractSubject, case: Any) -> Discrepancy | None:
    """Judge whether the arrays are as before."""
    question = subject.question(case)
    with expecting("an answer", lambda: subject.code(question)):
        if not subject.mutates_input(question):
            return None
    code = subject.code(question) + f"\nprint({subject.handed})  # changed by the call"
    return Discrepancy("the arrays as they were handed over", "others after the call", code)


def deterministic(subject: AbstractSubject, case: Any) -> Discrepancy | None:
    """Judge the answers to calls with equal input."""
    question = subject.question(case)
    with expecting("an answer on each call", lambda: subject.code(question)):
        found = [subject.answer(question) for _ in range(1 + CALLS)][1:]
    usual = max(found, key=lambda one: sum(subject.alike(one, other) for other in found))
    others = [one for one in found if not subject.alike(one, usual)]
    if not others:
        return None
    expected, actual = (subject.told(answer, question) for answer in (usual, others[0]))
    often = other_answers(len(others), CALLS)
    return Discrepancy(f"{expected}, as usual", actual, subject.code(question), often)


def repeatable(subject: AbstractSubject, cases: tuple[Any, ...]) -> Discrepancy | None:
    """Judge one question before and after another one."""
    first, other = (subject.question(case) for case in cases)
    code = subject.code(first, other, first)
    with expecting("the same answer again", lambda: code):
        before = subject.answer(first)
        subject.answer(other)
        after = subject.answer(first)
    if subject.alike(after, before):
        return None
    said = subject.told(after, first) + " when it has answered another question"
    return Discrepancy(subject.told(before, first) + ", as before", said, code)


def steady(
    source: str,
    given: str,
    answer: str,
    one: Callable[[Any], st.SearchStrategy[Any]],
    two: Callable[[Any], st.SearchStrategy[Any]],
    before: tuple[str, ...],
    chance: tuple[str, ...] = (),
) -> tuple[Requirement[Any], ...]:
    """Return the requirements that `given` alone decides the `answer`, and is left as it was.

    They presuppose those of `before`, and the latter two those of `chance` as well.
    """
    after = (*before, *chance)
    return (
        Requirement(
            "unchanged",
            source,
            f"leaves {given} as they were",
            one,
            unchanged,
            presupposes=before[:1],
        ),
        Requirement(
            "deterministic",
            source,
            f"gives the same {answer} each time that it gets the same {given.removeprefix('the ')}",
            one,
            deterministic,
            presupposes=after,
        ),
        Requirement(
            "repeatable",
            source,
            f"answers from {given} alone, not from what it was asked before",
            two,
            repeatable,
            presupposes=(*after, "deterministic"),
        ),
    )
