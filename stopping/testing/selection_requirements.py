"""What a selection function must do, in order from the simplest.

The four at the heart read Algorithm 1 in two halves. On tokens that obey the theory's assumptions
the search must come down to the turning point (`descends`, T1) and must not go on past it to a
layer that reads more (`excess`, T2); on any trace it must not go on past the first layer where the
entropy no longer falls (`stops`), nor leave a final layer that reads least (`stays`). Their cases
end before the window does and hold no ties, near-ties or extreme values, which the others add one
at a time.

NaN. A comparison with NaN is false, so a plain loop that meets one *stops*, and decodes a layer
that no comparison has found good. Two outcomes are right where the search reads a NaN: to raise,
or to keep the final layer, which is ordinary decoding. Any other layer swallows the NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from stopping.testing import selection_cases as cases
from stopping.testing import selection_judges as judges
from stopping.testing.judges import steady
from stopping.testing.requirement import Requirement
from stopping.types import FloatArray

if TYPE_CHECKING:
    from stopping.testing.searching import AbstractSearching


def searches(subject: AbstractSearching) -> str:
    """Empty unless it never searches."""
    return "p = 0 never searches" if subject.p == 0.0 else ""


def holds_any_scale(subject: AbstractSearching) -> str:
    """Empty unless its precision has no range."""
    return searches(subject) or ("float16 has no range" if subject.dtype == "float16" else "")


def reaches_past_the_window(subject: AbstractSearching) -> str:
    """Empty unless no stack is deeper than the window."""
    enough = subject.accepted[1] > subject.K
    return searches(subject) or ("" if enough else f"takes at most {subject.accepted[1]} layers")


def fits_in_the_window(subject: AbstractSearching) -> str:
    """Empty unless no stack is shorter than the window."""
    fits = max(2, subject.accepted[0]) <= subject.K
    return searches(subject) or ("" if fits else "no stack is shorter than the window")


def takes_one_layer(subject: AbstractSearching) -> str:
    """Empty unless it wants more."""
    least = subject.accepted[0]
    return "" if least == 1 else f"takes at least {least} layers"


def takes_batches(subject: AbstractSearching) -> str:
    """Empty unless it takes one token at a time."""
    return searches(subject) or ("" if subject.batched else "takes one token at a time")


def falls_back(subject: AbstractSearching) -> str:
    """Empty unless it always searches."""
    return "" if subject.p < 1.0 else "p = 1 never falls back"


def randomises(subject: AbstractSearching) -> str:
    """Empty unless nothing is random, or it takes one token at a time."""
    certain = "" if subject.drawn else f"p = {subject.p:g} draws nothing at random"
    return certain or ("" if subject.batched else "takes one token at a time")


def chooses(
    name: str,
    statement: str,
    traces: Callable[[AbstractSearching], st.SearchStrategy[FloatArray]],
    before: tuple[str, ...],
    applies: Callable[[AbstractSearching], str] = searches,
) -> Requirement[AbstractSearching]:
    """Return the requirement that on such traces the layer is that of Algorithm 1."""
    return Requirement(
        name, "Algorithm 1", statement, traces, judges.exactly, presupposes=before, applies=applies
    )


def draws(before: tuple[str, ...]) -> Requirement[AbstractSearching]:
    """Return the requirement that tokens of a batch fall back each by itself."""
    return Requirement(
        "draws",
        "Algorithm 1",
        "makes a Bernoulli draw for each token, not one for the batch",
        cases.one_step_back,
        judges.draws,
        presupposes=before,
        applies=randomises,
        once=True,
    )


def finer(
    base: tuple[str, ...], choice: tuple[str, ...], searching: str, kept: str
) -> tuple[Requirement[AbstractSearching], ...]:
    """Return what a search must do besides: at its window's ends, in batches, with NaN, by chance.

    Parameters
    ----------
    base, choice : what these presuppose: an answer at all, and the search inside the window.
    searching : name of the requirement without which nothing is said of the fallback.
    kept : what ordinary decoding gives.
    """
    return (
        chooses(
            "window",
            "takes K steps back where entropy falls that far, and no more",
            cases.edge,
            choice,
            reaches_past_the_window,
        ),
        chooses(
            "full-window",
            "reaches the first layer of a stack no deeper than K, and nothing before it",
            cases.whole,
            choice,
            fits_in_the_window,
        ),
        Requirement(
            "rows",
            "Algorithm 1",
            "chooses for each token of a batch as for that token alone",
            cases.batches,
            judges.rows,
            presupposes=base,
            applies=takes_batches,
        ),
        Requirement(
            "nan",
            "T4",
            f"raises where the search reads a NaN, or gives {kept}",
            cases.spoilt,
            judges.nan,
            presupposes=base,
        ),
        Requirement(
            "fallback",
            "Algorithm 1",
            f"gives {kept} with probability 1 - p",
            cases.one_step_back,
            judges.fallback,
            presupposes=(*base, searching),
            applies=falls_back,
            once=True,
        ),
    )


BASE = ("answers", "draws", "deterministic", "repeatable")
SEARCH = (*BASE, "stays", "descends", "excess", "stops")


SELECTION: tuple[Requirement[AbstractSearching], ...] = (
    Requirement(
        "answers",
        "Algorithm 1",
        "gives one whole number for each token, the place of a layer",
        cases.inside,
        judges.answers,
    ),
    draws(("answers",)),
    *steady(
        "Algorithm 1", "the entropies", "layer", cases.inside, cases.pairs, ("answers",), ("draws",)
    ),
    chooses(
        "one-layer", "chooses the only layer of a stack of one", cases.single, BASE, takes_one_layer
    ),
    chooses(
        "stays", "keeps the final layer where entropy falls all the way to it", cases.falling, BASE
    ),
    Requirement(
        "descends",
        "T1",
        "under A2-A4 never stops above the turning point V*",
        cases.turns,
        judges.descends,
        presupposes=BASE,
        applies=searches,
    ),
    Requirement(
        "excess",
        "T2",
        "under A2-A4 never stops below V* at a layer that reads more than V* does",
        cases.turns,
        judges.excess,
        presupposes=BASE,
        applies=searches,
    ),
    Requirement(
        "stops",
        "Algorithm 1",
        "never goes on past the first layer, counted from the last, where entropy stops falling",
        cases.inside,
        judges.stops,
        presupposes=(*BASE, "stays", "excess"),
        applies=searches,
    ),
    chooses(
        "ties", "stops at a tie: steps back only to a strictly lower entropy", cases.tied, SEARCH
    ),
    chooses(
        "near-ties",
        "tells entropies apart that differ by one unit in the last place",
        cases.nearly_tied,
        SEARCH,
    ),
    chooses(
        "scale",
        "only compares: huge and tiny entropies are searched like any others",
        cases.scaled,
        SEARCH,
        holds_any_scale,
    ),
    *finer(BASE, SEARCH, "descends", "the final layer"),
)
