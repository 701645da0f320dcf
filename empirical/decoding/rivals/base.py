"""What rival decoders share: they read a whole window, and each row is decided on its own.

A rival is a pure function of the window's logits `z`, shape (w, n, vocabulary), final layer last.
It either *selects* one of the layers for each row, or *contrasts* them: then the logits that it
returns belong to no layer, and the statistics count the row as the final layer's, with the rival's
own most probable token.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from empirical.decoding.choosing import Choice
from empirical.decoding.custom import AbstractDecoder, Chooses
from empirical.decoding.rivals.unnormed import UnnormedLens
from empirical.lenses import AbstractLens, RawLens
from empirical.logits.readout import read_logits
from empirical.model.anatomy import Anatomy, last_layers
from stopping.errors import UserError
from stopping.types import IntArray

# The window's logits of a block of rows, and about as much again for each step of the arithmetic.
_BLOCK_BYTES = 128 << 20


class AbstractRival(AbstractDecoder):
    """A decoder that reads all its layers for every row."""

    @abc.abstractmethod
    def decide(self, z: Tensor) -> tuple[Tensor, IntArray | None]:
        """Decode each row.

        Parameters
        ----------
        z : (w, n, vocabulary)
            Logits of the window's layers, at least in single precision.

        Returns
        -------
        logits : (n, vocabulary)
        column : (n,) int, or None
            Column of the layer whose logits these are, or that is mixed in; None where there is no
            such layer.
        """

    def chooser(
        self, anatomy: Anatomy, lens: AbstractLens | None, layers: tuple[int, ...]
    ) -> Chooses:
        """Read with the given lens, or the raw one."""
        return _Chooser(self, lens or RawLens(anatomy), layers)


class AbstractSelection(AbstractRival):
    """A rival that decodes one of the layers, chosen by a score of its own."""

    K: int

    def window(self, depth: int, tied: bool) -> tuple[int, ...]:
        """Return the last `K + 1` layers."""
        return last_layers(depth, self.K + 1)

    @abc.abstractmethod
    def column(self, z: Tensor) -> IntArray:
        """Return the column of the layer chosen for each row, shape (n,)."""

    def decide(self, z: Tensor) -> tuple[Tensor, IntArray | None]:
        """Return the chosen layer's logits."""
        column = self.column(z)
        chosen = torch.from_numpy(column).to(z.device)
        return z[chosen, torch.arange(z.shape[1], device=z.device)], column


class AbstractContrast(AbstractRival):
    """A rival that plays earlier layers against the final one.

    The published code of these methods reads earlier layers through the bare head, without the
    final norm: `norm=off`.
    """

    norm: bool
    NEEDS_RAW: ClassVar[str] = "contrasts the model's own layers and takes no lens; leave it out"

    def chooser(
        self, anatomy: Anatomy, lens: AbstractLens | None, layers: tuple[int, ...]
    ) -> Chooses:
        """Read with or without the final norm.

        Raises
        ------
        UserError
            If a lens is given.
        """
        if lens is not None and lens.name != "raw":
            raise UserError(f"{self.kind}: {self.NEEDS_RAW}")
        return _Chooser(self, RawLens(anatomy) if self.norm else UnnormedLens(anatomy), layers)

    @abc.abstractmethod
    def logits(self, z: Tensor) -> Tensor:
        """Return new logits for each row, shape (n, vocabulary)."""

    def decide(self, z: Tensor) -> tuple[Tensor, IntArray | None]:
        """Return logits that are no layer's."""
        return self.logits(z), None


@dataclass(frozen=True, eq=False)
class _Chooser:
    rival: AbstractRival
    lens: AbstractLens
    layers: tuple[int, ...]

    def choose(
        self,
        logits: Tensor,
        states: Mapping[int, Tensor],
        position: NDArray[np.int64],
        token: NDArray[np.int64],
    ) -> Choice:
        width = len(self.layers)
        rows = max(1, _BLOCK_BYTES // (4 * width * logits.shape[1]))
        blocks = (slice(start, start + rows) for start in range(0, len(logits), rows))
        return Choice.joined(
            [
                self._block(logits[some], {layer: h[some] for layer, h in states.items()})
                for some in blocks
            ]
        )

    def _block(self, logits: Tensor, states: Mapping[int, Tensor]) -> Choice:
        n, width = len(logits), len(self.layers)
        kind = torch.promote_types(logits.dtype, torch.float32)
        z = torch.empty((width, *logits.shape), dtype=kind, device=logits.device)
        for column, layer in enumerate(self.layers[:-1]):
            z[column] = self.lens.read(layer, states[layer][None])[0].to(z)
        z[-1] = logits
        entropy, top1 = np.empty((n, width)), np.empty((n, width), dtype=np.int64)
        nothing = torch.zeros(n, dtype=torch.long, device=logits.device)
        for column, layer in enumerate(self.layers):
            try:
                seen = read_logits(z[column], nothing)
            except UserError as error:
                raise UserError(f"layer {layer}: {error}") from error
            entropy[:, column] = seen.entropy.cpu().numpy()
            top1[:, column] = seen.top1.cpu().numpy()
        decoded, chosen = self.rival.decide(z)
        logits.copy_(decoded)
        return Choice(
            column=np.full(n, width - 1) if chosen is None else chosen,
            entropy=entropy,
            top1=top1,
            projections=np.full(n, width - 1),
            emitted=decoded.argmax(dim=-1).cpu().numpy(),
        )
