"""How the answer of a search is judged on one case."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from stopping.model.paths import at
from stopping.testing.reference import algorithm_1
from stopping.testing.requirement import Discrepancy, Raised, expecting
from stopping.testing.selection_cases import entropies_of
from stopping.testing.strategies import World
from stopping.types import FloatArray, IntArray

if TYPE_CHECKING:
    from stopping.testing.searching import AbstractSearching

DRAWS = 1000
"""Draws in a test of frequencies: it sees `p` off by 0.08."""
BATCH = 16


def judge_layers(
    subject: AbstractSearching, x: FloatArray, right: Callable[[IntArray], bool], expected: str
) -> Discrepancy | None:
    """Ask about the batch `x`; say what is wrong unless `right` accepts the layers."""
    with expecting(expected, lambda: subject.code(x)):
        layer = subject.searched(x)
    if right(layer):
        return None
    return Discrepancy(expected, subject.describe(layer, x.shape[1]), subject.code(x))


def exactly(subject: AbstractSearching, row: FloatArray) -> Discrepancy | None:
    """Judge one token: the layer must be that of Algorithm 1."""
    layer = algorithm_1(row, subject.K)
    expected = subject.describe(layer, len(row))
    return judge_layers(subject, row[None], lambda found: bool(found[0] == layer), expected)


def answers(subject: AbstractSearching, row: FloatArray) -> Discrepancy | None:
    """Judge the shape and type of what comes back for two copies of a token."""
    x = np.repeat(row[None], 2 if subject.batched else 1, axis=0)
    with expecting("a whole number for each token", lambda: subject.code(x)):
        subject.ask(x, strict=True)
    return None


def descends(subject: AbstractSearching, world: World) -> Discrepancy | None:
    """Judge T1 on a world: at or below `V*`."""
    x, turning = entropies_of(world), int(world.paths.turning[0])
    expected = f"at or below V* = {subject.describe(turning, x.shape[1])}"
    return judge_layers(subject, x, lambda found: bool(found[0] <= turning), expected)


def excess(subject: AbstractSearching, world: World) -> Discrepancy | None:
    """Judge T2 on a world: `x[V^] <= x[V*]`, which is `excess(V^) <= eps[V*] - eps[V^]`."""
    x, turning = entropies_of(world), int(world.paths.turning[0])

    def right(layer: IntArray) -> bool:
        # Above V* it is containment that fails, not this.
        return bool(layer[0] > turning or at(x, layer)[0] <= x[0, turning])

    least = f"a layer that reads at most x[V*] = {x[0, turning]:g}, V* = "
    return judge_layers(subject, x, right, least + subject.describe(turning, x.shape[1]))


def stops(subject: AbstractSearching, row: FloatArray) -> Discrepancy | None:
    """Judge one side of Algorithm 1: not below its layer."""
    layer = algorithm_1(row, subject.K)
    expected = f"not below {subject.describe(layer, len(row))}, where entropy stops falling"
    return judge_layers(subject, row[None], lambda found: bool(found[0] >= layer), expected)


def rows(subject: AbstractSearching, rows: tuple[FloatArray, ...]) -> Discrepancy | None:
    """Judge a batch by the function's own answers for each token alone."""
    x = np.array(rows)
    with expecting("an answer for each token alone", lambda: subject.code(x)):
        alone = np.concatenate([subject.searched(row[None]) for row in x])
    expected = f"{subject.describe(alone, x.shape[1])}, as for each token alone"
    return judge_layers(subject, x, lambda found: bool((found == alone).all()), expected)


def nan(subject: AbstractSearching, case: tuple[FloatArray, int]) -> Discrepancy | None:
    """Judge what comes of a NaN at a layer that the search reads."""
    row, place = case
    stop, last = algorithm_1(row, subject.K), len(row) - 1
    spoilt = row.copy()
    # One of the layers that the search reads: from the one that stops it up to L.
    spoilt[max(0, stop - 1) + place % (last - max(0, stop - 1) + 1)] = np.nan
    expected = f"an exception, or ordinary decoding: {subject.describe(last, len(row))}"
    with expecting(expected, lambda: subject.code(spoilt[None])):
        try:
            layer = subject.searched(spoilt[None])
        except Raised:
            return None
    if layer[0] == last:
        return None
    return Discrepancy(expected, subject.describe(layer, len(row)), subject.code(spoilt[None]))


def fallback(subject: AbstractSearching, row: FloatArray) -> Discrepancy | None:
    """Judge the frequency of the fallback over many calls, by an exact binomial test."""
    from scipy.stats import binomtest  # a quarter of a second, which most requirements do not need

    last, expected = len(row) - 1, f"the search's layer with probability {subject.p:g}"
    code = f"{subject.code(row[None])}\n# ask {DRAWS} times and count"
    with expecting(expected, lambda: code):
        kept = sum(int(subject.ask(row[None])[0] == last) for _ in range(DRAWS))
    if binomtest(kept, DRAWS, 1.0 - subject.p).pvalue >= subject.level:
        return None
    rate = f"in {DRAWS - kept} of {DRAWS} calls, excluded at level {subject.level:g}"
    return Discrepancy(expected, rate, code)


def draws(subject: AbstractSearching, row: FloatArray) -> Discrepancy | None:
    """Judge whether equal tokens of one batch always fall alike, though not in every batch.

    Where all batches fall alike nothing is random, which is another requirement's matter.
    """
    x, expected = np.repeat(row[None], BATCH, axis=0), "a draw for each token of a batch"
    code = f"{subject.code(row[None])}\n# ask again and again about {BATCH} copies of this token"
    with expecting(expected, lambda: code):
        fell = [np.unique(subject.ask(x)) for _ in range(subject.copies)]
    alike = all(len(layers) == 1 for layers in fell)
    if not alike or len({int(layers[0]) for layers in fell}) == 1:
        return None
    said = f"in {len(fell)} batches of {BATCH} equal tokens, all of a batch fell alike"
    return Discrepancy(expected, said, code)
