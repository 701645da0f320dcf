"""The cases that a search is asked about, given its window and the layers it accepts.

But for the requirements that look there, cases keep clear of the window's edge and of the first
layer, so that a mistake made there is not reported elsewhere.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from stopping.testing.reference import search
from stopping.testing.strategies import (
    GRID,
    World,
    descents,
    from_steps_back,
    near_ties,
    on_grid,
    scales,
    whole_numbers,
    worlds,
)
from stopping.types import FloatArray

if TYPE_CHECKING:
    from stopping.testing.searching import AbstractSearching

WORLD_UNIT = 0.25
"""Nats per `eps_max` of the worlds."""


def roomy(subject: AbstractSearching) -> tuple[int, int]:
    """Numbers of layers with which the window ends before the stack does."""
    low, high = subject.accepted
    return max(low, min(subject.K + 1, high)), min(high, max(low, subject.K + 4))


def inner(subject: AbstractSearching) -> int:
    """Most steps back that stay clear of the window's edge."""
    return max(1, min(subject.K - 1, roomy(subject)[0] - 2))


def entropies_of(world: World) -> FloatArray:
    """Entropies `(1, layers)` of a world in nats, the least of them one grid step: on the grid."""
    x = world.paths.x * WORLD_UNIT
    lowered: FloatArray = x - x.min() + GRID
    return lowered


def inside(subject: AbstractSearching) -> st.SearchStrategy[FloatArray]:
    """Any trace on which the search ends inside the window."""
    return descents((0, inner(subject)), roomy(subject))


def pairs(subject: AbstractSearching) -> st.SearchStrategy[tuple[FloatArray, ...]]:
    """Two traces of equal depth, so that a state kept from one fits the other."""
    return _several(subject, st.just(2))


def batches(subject: AbstractSearching) -> st.SearchStrategy[tuple[FloatArray, ...]]:
    """Two to four traces of equal depth."""
    return _several(subject, st.integers(2, 4))


def single(subject: AbstractSearching) -> st.SearchStrategy[FloatArray]:
    """A stack of one layer."""
    return descents((0, 0), (1, 1))


def falling(subject: AbstractSearching) -> st.SearchStrategy[FloatArray]:
    """An unperturbed token without noise: entropy falls strictly at every layer."""
    low, high = roomy(subject)
    back = st.integers(low - 1, high - 1).flatmap(lambda n: whole_numbers(n, 8))
    return back.map(lambda less: on_grid(from_steps_back(less + 1)))


def turns(subject: AbstractSearching) -> st.SearchStrategy[World]:
    """Perturbed worlds with A1 to A4, on which the search ends inside the window."""

    def clear(world: World) -> bool:
        paths = world.paths
        steps = paths.layers - 1 - int(search(paths.x, subject.K)[0])
        return bool(paths.turning[0] < paths.layers - 1) and steps <= inner(subject)

    return worlds(layers=roomy(subject), K=subject.K, grid=WORLD_UNIT).filter(clear)


def tied(subject: AbstractSearching) -> st.SearchStrategy[FloatArray]:
    """Traces whose first valley is two layers wide."""
    return descents((0, inner(subject)), roomy(subject), tie=True)


def nearly_tied(subject: AbstractSearching) -> st.SearchStrategy[FloatArray]:
    """Traces whose neighbours differ in the last places of the function's precision."""
    return near_ties((0, inner(subject)), roomy(subject), subject.dtype)


def scaled(subject: AbstractSearching) -> st.SearchStrategy[FloatArray]:
    """Traces over seventy orders of magnitude."""
    return scales((0, inner(subject)), roomy(subject))


def edge(subject: AbstractSearching) -> st.SearchStrategy[FloatArray]:
    """Traces on which entropy falls through the window, and beyond where there is a beyond."""
    low, high = subject.accepted
    beyond = max(low, min(subject.K + 2, high)), min(high, max(low, subject.K + 4))
    return descents((subject.K + 1, subject.K + 1), beyond)


def whole(subject: AbstractSearching) -> st.SearchStrategy[FloatArray]:
    """Traces of at most `K` layers on which entropy falls back to the very first."""
    low, high = subject.accepted
    most = min(subject.K, high)
    return descents((most, most), (max(2, low), most))


def spoilt(subject: AbstractSearching) -> st.SearchStrategy[tuple[FloatArray, int]]:
    """Return a trace, and which of the layers that the search reads is to be NaN."""
    return st.tuples(inside(subject), st.integers(0, inner(subject) + 1))


def one_step_back(subject: AbstractSearching) -> st.SearchStrategy[FloatArray]:
    """One trace, on which the search leaves the final layer by one step."""
    return st.just(on_grid(from_steps_back([-4, *[4] * (roomy(subject)[0] - 2)])))


def _several(
    subject: AbstractSearching, count: st.SearchStrategy[int]
) -> st.SearchStrategy[tuple[FloatArray, ...]]:
    deep = inner(subject)
    return st.tuples(count, st.integers(*roomy(subject))).flatmap(
        lambda shape: _alike(shape[0], deep, shape[1])
    )


@cache
def _alike(count: int, deep: int, layers: int) -> st.SearchStrategy[tuple[FloatArray, ...]]:
    return st.tuples(*[descents((0, deep), (layers, layers))] * count)
