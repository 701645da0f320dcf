"""What a lens evaluation must do: read every layer as the model would read its last.

The model's own logits are the head's of the final layer's state, and a lens evaluation is right at
a layer if it gives what the head gives of that layer's state. Each requirement adds one thing that
public implementations have got wrong:

- one state at all layers, of unit size, through a unit gain, for which a norm changes nothing
  (`head`);
- a state of its own at each layer: the final layer must read as the model does (`top`), and the
  others as themselves (`layers`);
- states of other sizes, for which a norm may be applied any number of times, but not left out
  (`norm`); a size of its own at each layer, so that the statistics of one are not those of another
  (`own-norm`); a gain, which shows a second application and another norm (`norm-once`); and states
  so small that the norm's constant counts (`epsilon`);
- a bias, a scale and a soft cap of the logits, then all three in their order (`bias`, `scale`,
  `cap`, `order`).

NaN. A state that holds NaN has no logits: right is to raise or to give NaN at that layer of that
token, and what is right everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from stopping.testing.head import GAINED, HIDDEN, PLAIN, VOCABULARY, Head
from stopping.testing.judges import steady
from stopping.testing.lens import Stack
from stopping.testing.requirement import Discrepancy, Raised, Requirement, expecting
from stopping.testing.strategies import signed_numbers
from stopping.types import FloatArray

if TYPE_CHECKING:
    from stopping.testing.lens import Lens

MOST_LAYERS = 5
SIZES = (0.5, 2.0, 8.0)
BIAS = np.array([1.0, -2.0, 0.5])


def _stacks(
    subject: Lens,
    head: Head,
    sizes: tuple[float, ...] = (1.0,),
    tokens: tuple[int, int] = (1, 1),
    alike: bool = False,
    own_size: bool = False,
) -> st.SearchStrategy[Stack]:
    """Stacks whose layers differ, or not if `alike`; of one of the sizes, or each of its own."""
    low, high = subject.accepted
    most = max(low, min(high, MOST_LAYERS))
    values = signed_numbers(VOCABULARY, 8).map(tuple)

    def build(rows: list[Any], n: int, size: list[float]) -> Stack:
        layers = len(rows) // n
        h = np.array([(*row, 4) for row in rows], dtype=float).reshape(n, layers, HIDDEN)
        if alike:
            h = np.repeat(h[:, :1], layers, axis=1)
        h /= np.sqrt((h * h).mean(axis=-1, keepdims=True))
        turn = np.arange(n)[:, None] + np.arange(layers) if own_size else np.zeros((1, 1), int)
        return Stack(h * np.array(size)[turn % len(size)][..., None], head)

    @cache
    def of(shape: tuple[int, int]) -> st.SearchStrategy[Stack]:
        n, layers = shape
        # Different tuples point in different directions, whose logits no tolerance confuses.
        rows = st.lists(values, min_size=n * layers, max_size=n * layers, unique=True)
        each = st.permutations(sizes)
        return st.builds(build, rows, st.just(n), each)

    return st.tuples(st.integers(*tokens), st.integers(max(low, min(2, high)), most)).flatmap(of)


def _of(head: Head = PLAIN, **options: Any) -> Callable[[Lens], st.SearchStrategy[Stack]]:
    return lambda subject: _stacks(subject, head, **options)


def _pairs(subject: Lens) -> st.SearchStrategy[tuple[Stack, Stack]]:
    """Two tokens of one depth, each by itself."""
    return _stacks(subject, GAINED, SIZES, (2, 2)).map(
        lambda both: (Stack(both.states[:1]), Stack(both.states[1:]))
    )


def _spoilt(subject: Lens) -> st.SearchStrategy[tuple[Stack, int, int]]:
    """Two tokens, and which layer of which is to be NaN."""
    stacks = _stacks(subject, GAINED, SIZES, (2, 2))
    return st.tuples(stacks, st.integers(0, 1), st.integers(0, MOST_LAYERS - 1))


def _answers(subject: Lens, stack: Stack) -> Discrepancy | None:
    both = Stack(np.repeat(stack.states, 2, axis=0), stack.head)
    with expecting("logits for each token and layer", lambda: subject.code(both)):
        found = subject.logits(both.states, both.head, strict=True)
    if np.isfinite(found).all():
        return None
    return Discrepancy("finite logits", f"gave back {found.tolist()}", subject.code(both))


def _agrees(subject: Lens, stack: Stack, layers: slice = slice(None)) -> Discrepancy | None:
    """Judge the logits of some layers by those of the head."""
    right = stack.head(stack.states)
    wanted = np.arange(right.shape[1])[layers]
    with expecting(subject.told(right, stack), lambda: subject.code(stack)):
        found = subject.answer(stack)
    wrong = [i for i in wanted if not subject.near(found[:, i], right[:, i]).all()]
    if not wrong:
        return None
    at = f" at layer index {wrong[-1]} of {right.shape[1]}{_looks_like(found, right, wrong[-1])}"
    expected = subject.told(right[:, wrong[-1]], stack)
    return Discrepancy(expected, subject.told(found[:, wrong[-1]], stack) + at, subject.code(stack))


def _looks_like(found: FloatArray, right: FloatArray, layer: int) -> str:
    """Say whose logits these are, if they are another layer's or nobody's."""
    if not found[:, layer].any():
        return ", all of them zero"
    for other in range(right.shape[1]):
        if other != layer and np.allclose(found[:, layer], right[:, other], atol=1e-3):
            return f", which are those of layer index {other}"
    return ""


def _top(subject: Lens, stack: Stack) -> Discrepancy | None:
    return _agrees(subject, stack, slice(-1, None))


def _rows(subject: Lens, stack: Stack) -> Discrepancy | None:
    with expecting("an answer for each token alone", lambda: subject.code(stack)):
        alone = [subject.answer(Stack(token[None], stack.head))[0] for token in stack.states]
        found = subject.answer(stack)
    if subject.alike(found, np.array(alone)):
        return None
    expected = f"{subject.told(np.array(alone), stack)}, as for each token alone"
    return Discrepancy(expected, subject.told(found, stack), subject.code(stack))


def _nan(subject: Lens, case: tuple[Stack, int, int]) -> Discrepancy | None:
    stack, token, place = case
    layer = place % stack.states.shape[1]
    states = stack.states.copy()
    states[token, layer] = np.nan
    spoilt = Stack(states, stack.head)
    expected = f"an exception, or NaN at layer index {layer} of token {token} alone"
    with expecting(expected, lambda: subject.code(spoilt)):
        try:
            found = subject.answer(spoilt)
        except Raised:
            return None
    if subject.near(found, stack.head(states)).all():
        return None
    return Discrepancy(expected, subject.told(found, spoilt), subject.code(spoilt))


def _reads(
    name: str,
    statement: str,
    stacks: Callable[[Lens], st.SearchStrategy[Stack]],
    before: tuple[str, ...],
) -> Requirement[Lens]:
    """Return the requirement that every layer of such stacks reads as through the head."""
    return Requirement(name, SOURCE, statement, stacks, _agrees, presupposes=before)


SOURCE = "the lens"
STEADY = ("answers", "deterministic", "repeatable")
READS = (*STEADY, "head", "top", "layers")
NORMS = (*READS, "norm", "own-norm", "norm-once")

LENS: tuple[Requirement[Lens], ...] = (
    Requirement(
        "answers",
        SOURCE,
        "gives finite logits (tokens, layers, vocabulary)",
        _of(alike=True),
        _answers,
    ),
    *steady(SOURCE, "states and head", "logits", _of(GAINED, sizes=SIZES), _pairs, ("answers",)),
    Requirement(
        "head",
        SOURCE,
        "reads states through the unembedding, and gives its logits as they are",
        _of(alike=True),
        _top,
        presupposes=STEADY,
    ),
    Requirement(
        "top",
        SOURCE,
        "gives the model's own logits at the final layer",
        _of(),
        _top,
        presupposes=(*STEADY, "head"),
    ),
    _reads(
        "layers",
        "gives each layer its own logits: none is missing, repeated, shifted or zero",
        _of(),
        (*STEADY, "head", "top"),
    ),
    _reads("norm", "applies the final norm at every layer", _of(sizes=SIZES), READS),
    _reads(
        "own-norm",
        "takes the norm's statistics from each layer's own state",
        _of(sizes=SIZES, own_size=True),
        (*READS, "norm"),
    ),
    _reads(
        "norm-once",
        "applies the final norm, its gain included, exactly once",
        _of(GAINED, sizes=SIZES),
        (*READS, "norm", "own-norm"),
    ),
    _reads("epsilon", "adds the norm's own constant to the mean square", _of(sizes=(1e-3,)), NORMS),
    _reads("bias", "adds the unembedding's bias", _of(replace(PLAIN, bias=BIAS)), NORMS),
    _reads(
        "scale", "multiplies logits by the model's scale", _of(replace(PLAIN, scale=2.0)), NORMS
    ),
    _reads("cap", "bends logits by the model's soft cap", _of(replace(PLAIN, cap=5.0)), NORMS),
    _reads(
        "order",
        "adds the bias first, then scales, then bends",
        _of(replace(PLAIN, bias=BIAS, scale=2.0, cap=5.0)),
        (*NORMS, "bias", "scale", "cap"),
    ),
    Requirement(
        "rows",
        SOURCE,
        "gives for each token of a batch what it gives for that token alone",
        _of(GAINED, sizes=SIZES, tokens=(2, 4), own_size=True),
        _rows,
        presupposes=NORMS,
    ),
    Requirement(
        "nan",
        SOURCE,
        "raises for a NaN, or keeps it to the layer and the token that hold it",
        _spoilt,
        _nan,
        presupposes=(*NORMS, "rows"),
    ),
)
