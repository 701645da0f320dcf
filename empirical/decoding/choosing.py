"""From the residual states of a window to chosen logits, reading no layer without need.

The layers are read backwards, `L` first, in rounds: a round projects the next few layers, as many
as cost nothing (`empirical.decoding.plan`, at least one), for the rows that still want one, in one
product. On a device where a product of few rows costs what reading the weights costs, that is one
product for the first candidates of all rows, and one more for the rest of the rows that go on.
Layers batched with the model's own product (`empirical.decoding.piggyback`) make the first round.

Whether a row wants another layer is what its rule says itself: `rule.projections` counts the layers
that a lazy reader needs, and for a rule that goes backwards the count exceeds `j` or not by the
first `j` layers read alone, whatever stands below them. So the unread columns are filled with an
entropy that is never reached, and the rule is asked. A rule whose `reading` is neither "backward"
nor "returning" (a forward exit, a certificate) gets the whole window.

Within a round each row takes what it needs and no more: entropies and counts are those of a
reader that goes layer by layer, whatever the rounds were.

A layer's logits replace the row's when the rule, knowing no more, would choose that layer; a rule
that returns to a layer it has passed (`Shifted`) reads its choice a second time. So besides the
model's own logits those of one round are held at any time, twice while they are turned or copied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from empirical.decoding.block_state import BlockState, Prefetched
from empirical.decoding.memory import Memory
from empirical.decoding.projecting import AbstractProjector, LensProjector
from empirical.lenses import AbstractLens
from empirical.model.anatomy import last_layers
from stopping.errors import UserError
from stopping.rules import AbstractRule, Final, FixedOffset, Search
from stopping.types import BoolArray, FloatArray, IntArray

# The unembedding is read once per block of rows, so blocks want to be long; logits must fit.
_BLOCK_BYTES = 128 << 20


def window_of(rule: AbstractRule, depth: int) -> tuple[int, ...]:
    """Numbers of the layers that `rule` may choose or read in a model of `depth` layers."""
    if isinstance(rule, Final):
        return (depth,)
    if isinstance(rule, FixedOffset):
        return tuple(sorted({max(1, depth - rule.k), depth}))
    # A rule without a window of its own may read every layer.
    return last_layers(depth, getattr(rule, "K", depth) + 1)


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen for `n` rows in a window of `w` layers, final layer in the last column.

    Attributes
    ----------
    column : (n,) int
        Chosen column.
    entropy : (n, w) float64
        Observed entropies `x`, nats; NaN where a layer was not read.
    top1 : (n, w) int64
        Most probable token, -1 where a layer was not read.
    projections : (n,) int
        Projections beyond the one that the model makes.
    emitted : (n,) int64, optional
        Most probable token of the logits that were left, where they are no layer's own.
    """

    column: IntArray
    entropy: FloatArray
    top1: NDArray[np.int64]
    projections: IntArray
    emitted: NDArray[np.int64] | None = None

    @classmethod
    def joined(cls, parts: Sequence["Choice"]) -> "Choice":
        """Rows of several blocks, one after the other."""
        names = [name for name, value in vars(parts[0]).items() if value is not None]
        return cls(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


class Chooser:
    """Applies one rule to rows of logits and states.

    Parameters
    ----------
    rule, lens, layers, seed
        `layers` are the numbers of the window's layers, ascending, ending in `L`.
    whole : bool
        Read every layer of the window for every row, needed or not.
    projector : AbstractProjector, optional
        How states become logits; default by the lens, layer by layer.
    """

    def __init__(
        self,
        rule: AbstractRule,
        lens: AbstractLens,
        layers: tuple[int, ...],
        seed: int,
        whole: bool = False,
        projector: AbstractProjector | None = None,
    ) -> None:
        self.rule, self.lens, self.layers, self.seed, self.whole = rule, lens, layers, seed, whole
        self._projector = projector or LensProjector(lens)
        self._last = len(layers) - 1
        self._lazy = rule.reading in ("backward", "returning")
        self._sinks = rule.reading in ("backward", "sinking")
        # The paper's `p` is one Bernoulli draw for each token, made before the search rather than
        # after it.
        self._p = rule.p if isinstance(rule, Search) else 1.0
        self._sure = replace(rule, p=1.0) if isinstance(rule, Search) else rule
        self._asked = self._went_on = 0
        self._draws = self._last > 0 and _draws(self._sure, len(layers))

    @property
    def rate(self) -> float:
        """Share of rows that wanted another layer after one, so far; 1/2 before any was asked."""
        if self.whole or not self._lazy:
            return 1.0
        return (self._went_on + 1) / (self._asked + 2)

    @property
    def scans(self) -> bool:
        """Whether any row may ever want a layer below `L`."""
        return self._last > 0 and (self._p > 0 or self.whole)

    def choose(
        self,
        logits: Tensor,
        states: Mapping[int, Tensor],
        position: NDArray[np.int64],
        token: NDArray[np.int64],
        ahead: Prefetched | None = None,
        memory: Memory | None = None,
        row: NDArray[np.int64] | None = None,
    ) -> Choice:
        """Choose a layer for each row and put its logits into `logits`, in place.

        Parameters
        ----------
        logits : (n, vocabulary)
            The model's own logits.
        states : (n, hidden) by layer number
            Residual states of the window's layers; of `L` only if the lens does not keep it.
        position, token : (n,) int
            What the generator of each row is keyed by.
        ahead : Prefetched, optional
            What was found out while the model's own logits were made.
        memory, row : Memory and (n,) int, optional
            Asked of a rule that remembers: what it has seen in the batch's row of each token.
            Without them every token begins a stream of its own.

        Raises
        ------
        UserError
            If logits hold NaN or +inf.
        """
        ahead = ahead or Prefetched()
        memory = memory or Memory()
        row = np.arange(len(logits)) if row is None else row
        rows = _block_rows(logits)
        return Choice.joined(
            [
                self._choose_block(
                    logits[start : start + rows],
                    {layer: h[start : start + rows] for layer, h in states.items()},
                    position[start : start + rows],
                    token[start : start + rows],
                    ahead.rows(slice(start, start + rows)),
                    (memory, row[start : start + rows]),
                )
                for start in range(0, len(logits), rows)
            ]
        )

    def _choose_block(
        self,
        logits: Tensor,
        states: Mapping[int, Tensor],
        position: NDArray[np.int64],
        token: NDArray[np.int64],
        ahead: Prefetched,
        streams: tuple[Memory, NDArray[np.int64]],
    ) -> Choice:
        state = BlockState(logits, states, self.layers, self.lens, self._projector, ahead)
        if self.lens.keeps_final and ahead.own is None and state.rounds:
            # The final layer's logits are rounded, so the others' must be.
            state.projector = LensProjector(self.lens)
        scans = self._searched(position, token)
        state.read_final(np.flatnonzero(scans | self.whole))
        wanted = np.full(len(logits), self.whole) | scans
        if self._lazy and not self.whole and scans.any():
            # A scan has to read `L - 1` before it may stop at `L`; a solved rule may stop at once.
            wanted[scans] = self._sure.projections(state.known(np.flatnonzero(scans))) > 0
        left = self._last
        while left > 0 and wanted.any():
            columns = state.next_columns(left, int(wanted.sum()), self.rate)
            block = state.read(columns, np.flatnonzero(wanted))
            taken = np.full(len(logits), left)
            for column in columns:
                rows = np.flatnonzero(wanted)
                if not rows.size:
                    break
                block.record(column, rows)
                known = state.known(rows)
                if self._sinks:
                    taken[rows[(self._sure.choose(known) == column) & scans[rows]]] = column
                if self._lazy and not self.whole:
                    wanted[rows] = self._sure.projections(known) > self._last - column
                    self._asked += rows.size
                    self._went_on += int(wanted[rows].sum())
            rows = np.flatnonzero(taken < left)
            block.take(taken[rows], rows)
            left -= len(columns)
            del block  # before the next layers' is made
        chosen = np.full(len(logits), self._last)
        known = state.known(np.flatnonzero(scans))
        if self._sure.remembers:
            chosen[scans] = self._recall(known, position[scans], *streams, scans)
        else:
            chosen[scans] = self._decide(known, position, token, scans)
        state.commit(chosen)
        return Choice(chosen, state.entropy, state.top1, state.projections)

    def _searched(self, position: NDArray[np.int64], token: NDArray[np.int64]) -> BoolArray:
        """Whether each row is searched, by the draw that `Search.choose` would make."""
        n = len(position)
        if self._last == 0 or self._p == 0.0:
            return np.zeros(n, dtype=np.bool_)
        if self._p == 1.0:
            return np.ones(n, dtype=np.bool_)
        draws = [self._generator(p, t).random() for p, t in zip(position, token, strict=True)]
        return np.array(draws) < self._p

    def _decide(
        self,
        x: FloatArray,
        position: NDArray[np.int64],
        token: NDArray[np.int64],
        scans: BoolArray,
    ) -> IntArray:
        if not len(x):
            return np.zeros(0, dtype=np.intp)
        if not self._draws:
            return self._sure.choose(x)
        generators = map(self._generator, position[scans], token[scans])
        return np.concatenate(
            [self._sure.choose(row[None], rng) for row, rng in zip(x, generators, strict=True)]
        )

    def _recall(
        self,
        x: FloatArray,
        position: NDArray[np.int64],
        memory: Memory,
        row: NDArray[np.int64],
        scans: BoolArray,
    ) -> IntArray:
        """Choose with what the rule has seen of each token's row."""
        places = zip(x, row[scans].tolist(), position.tolist(), strict=True)
        chosen = [memory.choose(self._sure, one[None], *place) for one, *place in places]
        return np.concatenate([np.zeros(0, dtype=np.intp), *chosen])

    def _generator(self, position: np.int64, token: np.int64) -> np.random.Generator:
        """Return the row's own generator: a block of the counter for each (position, token)."""
        counter = [0, int(position) + 1, int(token) + 1, 0]
        return np.random.Generator(np.random.Philox(key=self.seed, counter=counter))


def _draws(rule: AbstractRule, width: int) -> bool:
    """Whether a rule needs a generator."""
    try:
        rule.choose(np.zeros((1, width)))
    except UserError:
        return True
    return False


def _block_rows(logits: Tensor) -> int:
    return max(1, _BLOCK_BYTES // (logits.element_size() * max(1, logits.shape[1])))
