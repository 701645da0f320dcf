"""What a decoder must do: read each layer through norm and head, once; choose; give its logits.

The head comes first, with equal states at all layers, so that nothing hangs on the choice:

- unit states and unit gain, for which the norm changes nothing (`head`);
- states of other sizes, still with unit gain, for which the norm may be applied any number of
  times, but not left out (`norm`);
- a gain that differs from token to token, which a second application would apply twice
  (`norm-once`).

Then the choice, as of a selection function: see `stopping.testing.selection_requirements`, also
for what NaN may do. Their states read one token at a logit of its own and all others at 0, which
every score of confidence orders alike; `entropy` has states of two shapes, one token ahead and two
tokens ahead, whose entropies are close, so that any other score orders them otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st
from scipy.optimize import brentq

from stopping.testing import selection_cases as cases
from stopping.testing import selection_judges as judges
from stopping.testing.head import GAINED, PLAIN, VOCABULARY, Head
from stopping.testing.judges import steady
from stopping.testing.reference import algorithm_1, shannon_entropy
from stopping.testing.requirement import Discrepancy, Requirement, expecting
from stopping.testing.selection_requirements import chooses, draws, finer, searches
from stopping.testing.states import sized
from stopping.testing.strategies import signed_numbers
from stopping.types import FloatArray, IntArray

if TYPE_CHECKING:
    from stopping.testing.decoder import Decoder


def _states(subject: Decoder, sizes: tuple[float, ...]) -> st.SearchStrategy[FloatArray]:
    """One token, `(1, layers, hidden)`, with the same state at all layers."""

    def build(values: IntArray, size: float, layers: int) -> FloatArray:
        h = np.array([*values, 4], dtype=float)
        h *= size / np.sqrt((h * h).mean())
        return np.tile(h, (1, layers, 1))

    numbers = signed_numbers(VOCABULARY, 8)
    low, high = subject.accepted
    return st.builds(build, numbers, st.sampled_from(sizes), st.integers(low, high))


def _unit_states(subject: Decoder) -> st.SearchStrategy[FloatArray]:
    return _states(subject, (1.0,))


def _states_of_any_size(subject: Decoder) -> st.SearchStrategy[FloatArray]:
    return _states(subject, (0.5, 2.0, 8.0))


def _answers(subject: Decoder, states: FloatArray) -> Discrepancy | None:
    both = np.repeat(states, 2, axis=0)
    code = subject.written(subject.lines_for(both))
    with expecting("logits for each token", lambda: code):
        found = subject.logits(both, strict=True)
    if np.isfinite(found).all():
        return None
    return Discrepancy("finite logits", f"gave back {found.tolist()}", code)


def _read(subject: Decoder, states: FloatArray, head: Head) -> Discrepancy | None:
    right = head(states[:, -1])
    expected = f"logits {np.round(right[0], 4).tolist()}"
    code = subject.written(subject.lines_for(states, head))
    with expecting(expected, lambda: code):
        found = subject.logits(states, head)
    if subject.near(found, right).all():
        return None
    return Discrepancy(expected, f"logits {np.round(found[0], 4).tolist()}", code)


def _read_plainly(subject: Decoder, states: FloatArray) -> Discrepancy | None:
    return _read(subject, states, PLAIN)


def _read_with_gain(subject: Decoder, states: FloatArray) -> Discrepancy | None:
    return _read(subject, states, GAINED)


def _unmixed(subject: Decoder, row: FloatArray) -> Discrepancy | None:
    return judges.judge_layers(subject, row[None], lambda found: True, "the logits of one layer")


def _ahead(tokens: int) -> FloatArray:
    """Logits of `LEVELS` entropies of a distribution in which so many tokens lead alike."""

    def leading(by: float) -> FloatArray:
        return np.where(np.arange(VOCABULARY) < tokens, by, 0.0)

    def missed(by: float, entropy: float) -> float:
        return float(shannon_entropy(leading(by))) - entropy

    return np.array([leading(brentq(missed, 0.0, 5.5, args=(entropy,))) for entropy in LEVELS])


LEVELS = np.linspace(0.72, 1.06, 35)
"""Entropies, nats: within what two of three tokens can have, and far apart for float32."""
SHAPES = np.stack([_ahead(1), _ahead(2)])


def _shapes(subject: Decoder) -> st.SearchStrategy[FloatArray]:
    """Logits of the layers of one token, the last of them of neighbouring entropies, any first.

    Their shapes take turns. The first layers are flat, so that the search ends before they do, and
    inside its window.
    """
    last = min(len(LEVELS), 1 + cases.inner(subject))

    def build(places: list[int], least: int, shape: int, roll: int, layers: int) -> FloatArray:
        logits, deep = np.zeros((layers, VOCABULARY)), min(layers, last)
        shapes = (shape + np.arange(deep)) % len(SHAPES)
        logits[-deep:] = np.roll(SHAPES[shapes, least + np.array(places[:deep])], roll, axis=-1)
        return logits

    return st.builds(
        build,
        st.permutations(range(last)),
        st.integers(0, len(LEVELS) - last),
        st.integers(0, 1),
        st.integers(0, VOCABULARY - 1),
        st.integers(*cases.roomy(subject)),
    )


def _entropy(subject: Decoder, logits: FloatArray) -> Discrepancy | None:
    entropies = shannon_entropy(logits)
    layer = algorithm_1(entropies, subject.K)
    states = sized(logits[None])
    listed = ", ".join(f"{value:.3f}" for value in entropies)
    expected = f"{subject.describe(layer, len(logits))}, whose entropies are {listed} nats"
    code = subject.written(subject.lines_for(states))
    with expecting(expected, lambda: code):
        found = subject.searched(states, subject.layers_of)
    if found[0] == layer:
        return None
    return Discrepancy(expected, subject.describe(found, len(logits)), code)


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
    draws((*HEAD, "unmixed")),
    *steady(
        "Algorithm 1",
        "states and head",
        "logits",
        cases.inside,
        cases.pairs,
        (*HEAD, "unmixed"),
        ("draws",),
    ),
    chooses(
        "ordinary",
        "is ordinary decoding where entropy falls all the way to the final layer",
        cases.falling,
        BASE,
    ),
    chooses(
        "valley",
        "gives the logits of the layer that the search chooses",
        cases.inside,
        (*BASE, "ordinary"),
    ),
    Requirement(
        "entropy",
        "the lens",
        "compares the layers' entropies, and no other score of their distributions",
        _shapes,
        _entropy,
        presupposes=CHOICE,
        applies=searches,
    ),
    *finer(BASE, CHOICE, "valley", "the final layer's logits"),
)
