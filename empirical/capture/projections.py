"""Statistics of the states of many layers, as they come, in one of two ways.

Where the lens ends in the model's head and the head is a product (`empirical.model.unembedding`),
states are gathered until there are enough for a full tile, from several layers if need be, and read
tile by tile. Any other lens or head is asked for its logits, in chunks of rows.
"""

import abc
from dataclasses import fields
from typing import final

import torch
from torch import Tensor

from empirical.capture.tiles import read_tiles, tile_of
from empirical.lenses import AbstractLens
from empirical.logits.readout import NoNumberError, Readout, read_logits
from empirical.model.anatomy import Anatomy
from empirical.model.unembedding import Unembedding
from stopping.errors import UserError

# The unembedding is read once per chunk, so chunks want to be long; their logits must fit.
_CHUNK_BYTES = 256 << 20


class AbstractReader(abc.ABC):
    """Reads the same `n` rows at one layer after another."""

    def __init__(self, lens: AbstractLens, tokens: Tensor) -> None:
        self.lens, self.tokens = lens, tokens
        self._parts: list[Readout] = []

    @abc.abstractmethod
    def add(self, layer: int, states: Tensor) -> None:
        """Read the states (n, ...) that layer number `layer` returned, now or later.

        Raises
        ------
        UserError
            If logits are not finite, or the lens was not fitted at this layer.
        """

    def readouts(self) -> list[Readout]:
        """Return the statistics of each layer, in the order in which they were added."""
        if not self._parts:
            return []
        whole = [torch.cat([getattr(p, f.name) for p in self._parts]) for f in fields(Readout)]
        layers = zip(*(torch.split(column, len(self.tokens)) for column in whole), strict=True)
        return [Readout(*columns) for columns in layers]


def reader_for(
    anatomy: Anatomy, lens: AbstractLens, tokens: Tensor, head: Unembedding | None
) -> AbstractReader:
    """Choose the way to read.

    Parameters
    ----------
    tokens : (n,)
        The token of each row whose log-probability is asked for.
    head : the model's head, None if it is not a product.
    """
    if head is None or type(lens).before_head is AbstractLens.before_head:
        return LensReader(lens, tokens, anatomy.vocabulary_size)
    return TileReader(lens, tokens, head)


@final
class LensReader(AbstractReader):
    """Asks the lens for the logits of a chunk of rows at a time."""

    def __init__(self, lens: AbstractLens, tokens: Tensor, vocabulary: int) -> None:
        super().__init__(lens, tokens)
        self._chunk = max(16, _CHUNK_BYTES // (4 * vocabulary))

    def add(self, layer: int, states: Tensor) -> None:
        """Read them now."""
        pieces = torch.split(states, self._chunk), torch.split(self.tokens, self._chunk)
        try:
            for some, tokens in zip(*pieces, strict=True):
                z = self.lens.read(layer, some[None])[0]
                self._parts.append(read_logits(z, tokens.to(z.device)))
        except UserError as error:
            raise UserError(f"layer {layer}: {error}") from error


@final
class TileReader(AbstractReader):
    """Gathers rows for full tiles."""

    def __init__(self, lens: AbstractLens, tokens: Tensor, head: Unembedding) -> None:
        super().__init__(lens, tokens)
        self._head, self._device = head, head.linear.weight.device
        self._layers: list[int] = []
        self._done = 0
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, layer: int, states: Tensor) -> None:
        """Let them wait for enough others."""
        self._layers.append(layer)
        side = tile_of(self._device)
        for some, tokens in zip(
            torch.split(states, side), torch.split(self.tokens, side), strict=True
        ):
            x, temperature = self._before_head(layer, some)
            self._waiting.append((x, torch.full((len(x),), temperature), tokens))
            if sum(len(x) for x, *_ in self._waiting) >= side:
                self._read(side)

    def readouts(self) -> list[Readout]:
        """Read what still waits, and return all."""
        self._read(sum(len(x) for x, *_ in self._waiting))
        return super().readouts()

    def _before_head(self, layer: int, states: Tensor) -> tuple[Tensor, float]:
        try:
            found = self.lens.before_head(layer, states[None])
        except UserError as error:
            raise UserError(f"layer {layer}: {error}") from error
        assert found is not None, "a lens reads all layers in one way"
        x, temperature = found
        return x[0].to(self._head.linear.weight.device), temperature

    def _read(self, rows: int) -> None:
        if rows == 0:
            return
        x, temperature, tokens = (torch.cat(column) for column in zip(*self._waiting, strict=True))
        self._waiting = [(x[rows:].clone(), temperature[rows:], tokens[rows:])]
        try:
            part = read_tiles(
                self._head,
                x[:rows],
                temperature[:rows].to(x.device),
                tokens[:rows].to(x.device),
            )
        except NoNumberError as error:
            layer = self._layers[(self._done + error.row) // len(self.tokens)]
            at = NoNumberError((self._done + error.row) % len(self.tokens), len(self.tokens))
            raise UserError(f"layer {layer}: {at}") from error
        self._parts.append(part)
        self._done += rows
