"""What a decoder must do: read each layer through norm and head, once; choose; give its logits.

The head comes first, with equal states at all layers, so that nothing hangs on the choice:

- unit states and unit gain, for which the norm changes nothing (`head`);
- states of other sizes, still with unit gain, for which the norm may be applied any number of
  times, but not left out (`norm`);
- a gain that differs from token to token, which a second application would apply twice
  (`norm-once`).

Then the choice, as of a selection function: see `stopping.testing.selection_requirements`, also
for what NaN may do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from stopping.testing import selection_cases as cases
from stopping.testing import selection_judges as judges
from stopping.testing.head import GAIN, VOCABULARY, Head, matrix_for
from stopping.testing.requirement import CallError, Discrepancy, Requirement
from stopping.testing.selection_requirements import (
    falls_back,
    fits_in_the_window,
    randomises,
    reaches_past_the_window,
    searches,
)
from stopping.types import FloatArray

if TYPE_CHECKING:
    from stopping.testing.decoder import Decoder


def _states(subject: Decoder, sizes: tuple[float, ...]) -> st.SearchStrategy[FloatArray]:
    """One token, `(1, layers, hidden)`, with the same state at all layers."""

    def build(values: list[int], size: float, layers: int) -> FloatArray:
        h = np.array([*values, 4], dtype=float)
        h *= size / np.sqrt((h * h).mean())
        return np.tile(h, (1, layers, 1))

    numbers = st.lists(st.integers(-8, 8), min_size=VOCABULARY, max_size=VOCABULARY)
    low, high = subject.accepted
    return st.builds(build, numbers, st.sampled_from(sizes), st.integers(low, high))


def _unit_states(subject: Decoder) -> st.SearchStrategy[FloatArray]:
    return _states(subject, (1.0,))


def _states_of_any_size(subject: Decoder) -> st.SearchStrategy[FloatArray]:
    return _states(subject, (0.5, 2.0, 8.0))


def _answers(subject: Decoder, states: FloatArray) -> Discrepancy | None:
    both = np.repeat(states, 2, axis=0)
    code = "\n".join([*subject.header(), "", *subject.lines_for(both)])
    try:
        found = subject.logits(both, strict=True)
    except CallError as failure:
        return Discrepancy("logits for each token", str(failure), code)
    if np.isfinite(found).all():
        return None
    return Discrepancy("finite logits", f"gave back {found.tolist()}", code)


def _read(subject: Decoder, states: FloatArray, gain: FloatArray) -> Discrepancy | None:
    right = Head(gain, matrix_for(gain))(states[:, -1])
    expected = f"logits {np.round(right[0], 4).tolist()}"
    code = "\n".join([*subject.header(), "", *subject.lines_for(states, gain)])
    try:
        found = subject.logits(states, gain)
    except CallError as failure:
        return Discrepancy(expected, str(failure), code)
    if subject.near(found, right).all():
        return None
    return Discrepancy(expected, f"logits {np.round(found[0], 4).tolist()}", code)


def _read_plainly(subject: Decoder, states: FloatArray) -> Discrepancy | None:
    return _read(subject, states, np.ones(states.shape[-1]))


def _read_with_gain(subject: Decoder, states: FloatArray) -> Discrepancy | None:
    return _read(subject, states, GAIN)


def _unmixed(subject: Decoder, row: FloatArray) -> Discrepancy | None:
    return judges.judge_layers(subject, row[None], lambda found: True, "the logits of one layer")


HEAD = ("answers", "head", "norm", "norm-once")
BASE = (*HEAD, "unmixed", "draws", "deterministic", "repeatable")
CHOICE = (*BASE, "ordinary", "valley")

DECODER: tuple[Requirement[Decoder], ...] = (
    Requirement(
        "answers",
        "Algorithm 1",
        "gives finite logits (tokens, vocabulary)",
        _unit_states,
        _answers,
    ),
    Requirement(
        "unchanged",
        "Algorithm 1",
        "leaves states and head as they were",
        cases.inside,
        judges.unchanged,
        presupposes=("answers",),
    ),
    Requirement(
        "head",
        "Algorithm 1",
        "reads states through the unembedding, and gives its logits as they are",
        _unit_states,
        _read_plainly,
        presupposes=("answers",),
    ),
    Requirement(
        "norm",
        "Algorithm 1",
        "applies the final norm before the unembedding",
        _states_of_any_size,
        _read_plainly,
        presupposes=("answers", "head"),
    ),
    Requirement(
        "norm-once",
        "Algorithm 1",
        "applies the final norm, its gain included, exactly once",
        _states_of_any_size,
        _read_with_gain,
        presupposes=("answers", "head", "norm"),
    ),
    Requirement(
        "unmixed",
        "Algorithm 1",
        "gives for each token the logits of one layer, not of a mixture",
        cases.inside,
        _unmixed,
        presupposes=HEAD,
    ),
    Requirement(
        "draws",
        "Algorithm 1",
        "draws at random for each token, not once for the batch",
        cases.one_step_back,
        judges.draws,
        presupposes=(*HEAD, "unmixed"),
        applies=randomises,
        once=True,
    ),
    Requirement(
        "deterministic",
        "Algorithm 1",
        "gives the same logits each time that it gets the same states",
        cases.inside,
        judges.deterministic,
        presupposes=(*HEAD, "unmixed", "draws"),
    ),
    Requirement(
        "repeatable",
        "Algorithm 1",
        "answers from the states alone, not from what it was asked before",
        cases.pairs,
        judges.repeatable,
        presupposes=(*HEAD, "unmixed", "draws", "deterministic"),
    ),
    Requirement(
        "ordinary",
        "Algorithm 1",
        "is ordinary decoding where entropy falls all the way to the final layer",
        cases.falling,
        judges.exactly,
        presupposes=BASE,
        applies=searches,
    ),
    Requirement(
        "valley",
        "Algorithm 1",
        "gives the logits of the layer that the search chooses",
        cases.inside,
        judges.exactly,
        presupposes=(*BASE, "ordinary"),
        applies=searches,
    ),
    Requirement(
        "window",
        "Algorithm 1",
        "takes K steps back where entropy falls that far, and no more",
        cases.edge,
        judges.exactly,
        presupposes=CHOICE,
        applies=reaches_past_the_window,
    ),
    Requirement(
        "full-window",
        "Algorithm 1",
        "reaches the first layer of a stack no deeper than K, and nothing before it",
        cases.whole,
        judges.exactly,
        presupposes=CHOICE,
        applies=fits_in_the_window,
    ),
    Requirement(
        "rows",
        "Algorithm 1",
        "chooses for each token of a batch as for that token alone",
        cases.batches,
        judges.rows,
        presupposes=BASE,
        applies=searches,
    ),
    Requirement(
        "nan",
        "T4",
        "raises where the search reads a NaN, or gives the final layer's logits",
        cases.spoilt,
        judges.nan,
        presupposes=BASE,
    ),
    Requirement(
        "fallback",
        "Algorithm 1",
        "is ordinary decoding with probability 1 - p",
        cases.one_step_back,
        judges.fallback,
        presupposes=(*BASE, "valley"),
        applies=falls_back,
        once=True,
    ),
)
