"""The rows of one block: what has been read of each, and whose logits it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from empirical.decoding.projecting import AbstractProjector, rows_held
from empirical.lenses import AbstractLens
from empirical.logits.readout import NoNumberError, read_logits, require_finite
from empirical.logits.sums import Sums
from stopping.errors import UserError
from stopping.types import FloatArray, IntArray

# Above any entropy, and safe to compute with: a scan never steps onto an unread layer.
_UNREAD = 1e6


@dataclass(frozen=True, eq=False)
class Prefetched:
    """What is known of some `n` rows before any of them is read.

    Attributes
    ----------
    own : sums of the model's own logits, None if they are to be taken from the logits themselves.
    layers : numbers of the first layers below `L`, projected with the model's own.
    logits : (len(layers) * n, vocabulary), one layer's rows after the other's; None without layers.
    sums : those of these logits, where they are known.
    """

    own: Sums | None = None
    layers: tuple[int, ...] = ()
    logits: Tensor | None = None
    sums: Sums | None = None

    def rows(self, rows: slice | Tensor) -> "Prefetched":
        """The same of some rows."""
        own = None if self.own is None else self.own.rows(rows)
        if self.logits is None:
            return Prefetched(own)
        n = len(self.logits) // len(self.layers)
        if isinstance(rows, slice) and rows.indices(n) == (0, n, 1):
            return self  # nothing is copied
        places = torch.arange(len(self.logits), device=self.logits.device)
        places = places.view(-1, n)[:, rows].flatten()
        sums = None if self.sums is None else self.sums.rows(places)
        return Prefetched(own, self.layers, self.logits[places], sums)


class BlockState:
    """Rows of logits with the states behind them.

    Attributes
    ----------
    entropy : (n, w) float64
        Observed entropies in the window, NaN where not noted.
    top1 : (n, w) int64
        Most probable token, -1 where not noted.
    projections : (n,) int
        Layers that a row was read at, beyond what the model does itself.
    projector : AbstractProjector
        What makes logits of states.
    """

    def __init__(
        self,
        logits: Tensor,
        states: Mapping[int, Tensor],
        layers: tuple[int, ...],
        lens: AbstractLens,
        projector: AbstractProjector,
        ahead: Prefetched,
    ) -> None:
        n, width = len(logits), len(layers)
        self._logits, self._states, self._layers, self._lens = logits, states, layers, lens
        self.projector, self._ahead = projector, ahead
        self.entropy = np.full((n, width), np.nan)
        self.top1 = np.full((n, width), -1, dtype=np.int64)
        self.projections = np.zeros(n, dtype=np.intp)
        self._held = np.full(n, width - 1)

    def read_final(self, through_lens: IntArray) -> None:
        """Read the model's own logits, and `through_lens` where the lens sees `L` otherwise."""
        last = len(self._layers) - 1
        rows = np.arange(len(self._logits))
        Block(self, [last], rows, self._logits, self._ahead.own).record(last, rows, projected=False)
        if not self._lens.keeps_final and through_lens.size:
            said = self.top1[:, last].copy()
            self.read([last], through_lens).record(last, through_lens)
            # What the final layer would have said is the model's own choice in any case.
            self.top1[:, last] = said

    def next_columns(self, left: int, rows: int, rate: float) -> list[int]:
        """Columns below column `left` that `rows` rows read next, from above.

        `rate` is the share of rows that want another layer after one.
        """
        prefetched = [c for c in range(left - 1, -1, -1) if self._layers[c] in self._ahead.layers]
        if prefetched:
            return prefetched
        most = rows_held(self._logits.shape[1], self._logits.device)
        width = self.projector.plan.width(rows, left, rate, most)
        return list(range(left - 1, left - 1 - width, -1))

    def read(self, columns: Sequence[int], rows: IntArray) -> "Block":
        """Project some layers for some rows."""
        layers = tuple(self._layers[column] for column in columns)
        if layers == self._ahead.layers:
            everyone = len(rows) == len(self._logits)
            ahead = self._ahead.rows(slice(None) if everyone else _index(rows, self._logits))
            assert ahead.logits is not None
            z, sums = ahead.logits, ahead.sums
        else:
            z, sums = self.projector.project([(i, _rows(self._states[i], rows)) for i in layers])
        return Block(self, columns, rows, z, sums)

    def known(self, rows: IntArray) -> FloatArray:
        """Entropies of some rows, unread ones out of reach."""
        known: FloatArray = np.nan_to_num(self.entropy[rows], nan=_UNREAD)
        return known

    def commit(self, chosen: IntArray) -> None:
        """Read the chosen layer once more for rows that hold another one's logits."""
        stale = chosen != self._held
        for column in np.unique(chosen[stale]).tolist():
            rows = np.flatnonzero(stale & (chosen == column))
            block = self.read([column], rows)
            block.record(column, rows)
            block.take(np.full(len(rows), column), rows)

    def keep(self, columns: IntArray, rows: IntArray, z: Tensor) -> None:
        """Let these rows hold the logits `z` of a column each."""
        self._logits[_index(rows, self._logits)] = z.to(self._logits)
        self._held[rows] = columns

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the model's logits."""
        return self._logits.dtype

    @property
    def rounds(self) -> bool:
        """Whether the model's logits are rounded to half precision."""
        return self._logits.element_size() < 4

    def name(self, column: int) -> int:
        """Number of a column's layer."""
        return self._layers[column]


class Block:
    """Logits of some layers for some rows, layer after layer, and what is read off them."""

    def __init__(
        self,
        state: BlockState,
        columns: Sequence[int],
        rows: IntArray,
        z: Tensor,
        sums: Sums | None = None,
    ) -> None:
        self._board, self._columns, self._rows, self._z = state, list(columns), rows, z
        try:
            if sums is None:
                seen = read_logits(z, torch.zeros(len(z), dtype=torch.long, device=z.device))
                entropy, top1 = seen.entropy, seen.top1
            else:
                require_finite(sums.m)
                entropy, top1 = sums.entropy, sums.top1
        except NoNumberError as error:
            layer = state.name(columns[error.row // len(rows)])
            at = NoNumberError(error.row % len(rows), len(rows))
            raise UserError(f"layer {layer}: {at}") from error
        if state.rounds:
            # The token that greedy decoding emits is that of the rounded logits.
            top1 = z.to(state.dtype).argmax(dim=1)
        self._entropy, self._top1 = entropy.cpu().numpy(), top1.cpu().numpy()

    def record(self, column: int, rows: IntArray, projected: bool = True) -> None:
        """Put what was read of some of the rows at a column onto the state."""
        places = self._places(column, rows)
        self._board.entropy[rows, column] = self._entropy[places]
        self._board.top1[rows, column] = self._top1[places]
        self._board.projections[rows] += projected

    def take(self, columns: IntArray, rows: IntArray) -> None:
        """Let some of the rows hold the logits of a column each."""
        if rows.size:
            places = np.empty(len(rows), dtype=np.intp)
            for column in np.unique(columns).tolist():
                here = columns == column
                places[here] = self._places(column, rows[here])
            self._board.keep(columns, rows, self._z[_index(places, self._z)])

    def _places(self, column: int, rows: IntArray) -> IntArray:
        within: IntArray = np.searchsorted(self._rows, rows)
        return self._columns.index(column) * len(self._rows) + within


def _rows(values: Tensor, rows: IntArray) -> Tensor:
    return values if len(rows) == len(values) else values[_index(rows, values)]


def _index(rows: NDArray[np.generic], like: Tensor) -> Tensor:
    return torch.from_numpy(rows).to(like.device)
