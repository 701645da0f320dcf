"""The whole search on the device alone: two launches, so that a step may be a CUDA graph.

    x (layers, batch, hidden) -> logits of the chosen layer, its number, entropies, best token

1. *project* (`empirical.logits.kernels.project`): persistent thread blocks walk over tiles of the
   vocabulary and write one partial of the three sums each, and, where asked for, the logits;
2. *choose* (`benchmarks.gpu.choose`): merges the partials of each row in a fixed order, takes the
   entropies, runs the backward scan and copies the logits of the layer where it stops.

With `first` layers in one go and the rest for the rows that go on there are two such pairs and a
small kernel between them that numbers those rows; blocks without a row return at once. All memory
is taken beforehand. No decoder of the package runs it: it says what an engine could reach.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from benchmarks.gpu.choose import choose, number_rows
from empirical.logits.kernels.fused import (
    BLOCK_ENTRIES,
    BLOCK_HIDDEN,
    multiprocessors,
    rows_of_a_block,
)
from empirical.logits.kernels.project import project
from stopping.errors import UserError

_PIECE = 4096


@dataclass(frozen=True, eq=False)
class Chosen:
    """What a step leaves, in buffers that the next step overwrites.

    Attributes
    ----------
    column : (batch,) int32
        Steps back from `L`.
    token : (batch,) int32
        Most probable token of the chosen layer.
    entropy : (batch, window) float32
        Observed entropies from `L` down, nats; NaN where not read, and where logits hold no number.
    top1 : (batch, window) int32
        Most probable entries, -1 where not read.
    logits : (batch, entries), None if they are not stored
        Logits of the chosen layer in the model's precision.
    """

    column: Tensor
    token: Tensor
    entropy: Tensor
    top1: Tensor
    logits: Tensor | None


class HeadKernel:
    """Search backwards through the candidates of a batch of fixed size, on the device alone.

    Parameters
    ----------
    weight : (entries or more, hidden)
        Unembedding; rows beyond `entries` are padding.
    batch, window : int
        Rows, and candidates of each, `L` among them.
    first : int, optional
        Candidates that are read for all rows; the others are for the rows that go on. Default all.
    bias : (entries,), optional
    before, cap : float
        A logit is `cap tanh(before z / cap)`; a cap of 0 bends nothing.
    after : (window,), optional
        What the logits of each candidate are multiplied by at last, such as `1 / T`.
    mask : (entries,) bool, optional
        Words that are never said.
    tau : float
        Nats by which the entropy must fall for the search to go on.
    store : bool
        Whether logits are wanted, or the most probable token is enough.
    blocks : int, optional
        Thread blocks over the vocabulary; default one for each multiprocessor.

    Raises
    ------
    UserError
        If shapes do not fit, or a value is none that makes sense.
    """

    def __init__(
        self,
        weight: Tensor,
        *,
        batch: int,
        window: int,
        first: int | None = None,
        entries: int | None = None,
        bias: Tensor | None = None,
        before: float = 1.0,
        cap: float = 0.0,
        after: Tensor | None = None,
        mask: Tensor | None = None,
        tau: float = 0.0,
        store: bool = True,
        blocks: int | None = None,
    ) -> None:
        self.entries, self.hidden = entries or weight.shape[0], weight.shape[1]
        first = window if first is None else first
        if not (batch >= 1 and 1 <= first <= window and self.entries <= weight.shape[0]):
            raise UserError(
                f"kernel: batch >= 1, 1 <= first <= window and at most {weight.shape[0]} entries "
                f"are needed, got {batch}, {first}, {window}, {self.entries}"
            )
        if not weight.is_contiguous():
            raise UserError("kernel: the weights must be contiguous")
        device = weight.device
        self._weight, self._bias, self._mask = weight, bias, mask
        self._batch, self._window, self._first = batch, window, first
        self._before, self._cap, self._tau, self._store = before, cap, tau, store
        ones = torch.ones(window, dtype=torch.float32, device=device)
        self._after = ones if after is None else after.to(ones)
        self._blocks = blocks or multiprocessors(device)
        most = batch * max(first, window - first)
        self._parts = torch.empty((3, self._blocks, most), dtype=torch.float32, device=device)
        self._tops = torch.empty((self._blocks, most), dtype=torch.int32, device=device)
        kind = weight.dtype
        self._z = torch.empty((most if store else 1, self.entries), dtype=kind, device=device)
        self._order = torch.zeros(batch, dtype=torch.int32, device=device)
        self._count = torch.zeros(1, dtype=torch.int32, device=device)
        self._goes_on = torch.zeros(batch, dtype=torch.int32, device=device)
        self._all = torch.ones(batch, dtype=torch.int32, device=device)
        shape = (batch, window)
        self._chosen = Chosen(
            column=torch.zeros(batch, dtype=torch.int32, device=device),
            token=torch.zeros(batch, dtype=torch.int32, device=device),
            entropy=torch.full(shape, torch.nan, device=device),
            top1=torch.full(shape, -1, dtype=torch.int32, device=device),
            logits=torch.empty((batch, self.entries), dtype=kind, device=device) if store else None,
        )

    @property
    def bytes_held(self) -> int:
        """Memory of all buffers, the model's own logits among them."""
        chosen = self._chosen
        held = self._parts, self._tops, self._z, chosen.entropy, chosen.top1, chosen.logits
        return sum(buffer.nbytes for buffer in held if buffer is not None)

    def step(self, x: Tensor, scans: Tensor | None = None) -> Chosen:
        """Choose for the states of one step.

        Parameters
        ----------
        x : (window, batch, hidden)
            States as the decoder hands them to the head, `L` first, then `L - 1`, ...
        scans : (batch,) int32, optional
            0 where a row is not searched and keeps `L`.
        """
        if x.shape != (self._window, self._batch, self.hidden) or x.stride(2) != 1:
            expected = (self._window, self._batch, self.hidden)
            raise UserError(f"kernel: states have shape {tuple(x.shape)}, expected {expected}")
        scans = self._all if scans is None else scans
        if self._first < self._window:
            self._chosen.entropy.fill_(torch.nan)
            self._chosen.top1.fill_(-1)
        self._round(x, scans, 0, self._first)
        if self._first < self._window:
            block = triton.next_power_of_2(self._batch)
            number_rows[(1,)](self._goes_on, self._order, self._count, self._batch, BLOCK=block)
            self._round(x, scans, self._first, self._window - self._first)
        return self._chosen

    def _round(self, x: Tensor, scans: Tensor, first: int, layers: int) -> None:
        """Read candidates `first` to `first + layers - 1`, all rows or those that go on."""
        rows = self._batch * layers
        ordered = first > 0
        m, s, t = self._parts
        here = x[first:]
        none: Any = self._weight
        block_rows = rows_of_a_block(rows)
        common = {"HAS_ORDER": ordered, "STORE": self._store}
        project[(self._blocks, triton.cdiv(rows, block_rows))](
            here,
            self._weight,
            none if self._bias is None else self._bias,
            self._after[first:],
            none if self._mask is None else self._mask,
            self._order,
            self._count,
            self._z,
            m,
            s,
            t,
            self._tops,
            layers,
            rows,
            self.entries,
            self.hidden,
            x.stride(0),
            x.stride(1),
            self._weight.stride(0),
            float(self._before),
            float(self._cap),
            HAS_BIAS=self._bias is not None,
            HAS_MASK=self._mask is not None,
            HAS_CAP=self._cap > 0,
            EXACT=self._weight.dtype == torch.float32,
            BLOCK_ENTRIES=BLOCK_ENTRIES,
            BLOCK_ROWS=block_rows,
            BLOCK_HIDDEN=BLOCK_HIDDEN,
            **common,
        )
        chosen = self._chosen
        pieces = triton.cdiv(self.entries, _PIECE) if self._store else 1
        choose[(self._batch, pieces)](
            m,
            s,
            t,
            self._tops,
            self._z,
            self._order,
            self._count,
            scans,
            chosen.entropy,
            chosen.top1,
            chosen.column,
            self._goes_on,
            chosen.token,
            self._z if chosen.logits is None else chosen.logits,
            first,
            layers,
            self._window,
            rows,
            self._blocks,
            self.entries,
            float(self._tau),
            BLOCK_PARTS=triton.next_power_of_2(self._blocks),
            BLOCK_ENTRIES=_PIECE,
            **common,
        )
