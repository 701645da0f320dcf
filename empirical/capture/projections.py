"""Statistics of the states of many layers, in one of two ways.

States are gathered until all layers have been heard, since what hindsight is expected to win
compares the layers of a token with each other. Then they are read, a few tokens at a time. Where
the lens ends in the model's head and the head is a product (`empirical.model.unembedding`), this
goes tile by tile of the vocabulary, for all layers together. Any other lens or head is asked for
its logits, layer by layer.
"""

import abc
from dataclasses import fields
from typing import final

import torch
from torch import Tensor

from empirical.capture.tiles import LayersReadout, block_of, read_tiles
from empirical.lenses import AbstractLens
from empirical.logits.hindsight import expected_gain
from empirical.logits.readout import NoNumberError, Readout, read_logits
from empirical.logits.tempered import tempered_log_prob
from empirical.model.anatomy import Anatomy
from empirical.model.unembedding import Unembedding
from stopping.errors import UserError

# A whole head is read once per chunk, so chunks want to be long; their logits must fit.
_CHUNK_BYTES = 256 << 20


class AbstractReader(abc.ABC):
    """Reads the same `n` rows at one layer after another."""

    def __init__(self, lens: AbstractLens, tokens: Tensor) -> None:
        self.lens, self.tokens = lens, tokens
        self.layers: list[int] = []

    @abc.abstractmethod
    def add(self, layer: int, states: Tensor) -> None:
        """Take the states (n, ...) that layer number `layer` returned, the final layer last.

        Raises
        ------
        UserError
            If the lens was not fitted at this layer.
        """

    def read(self) -> LayersReadout:
        """Return the statistics at all layers, in the order in which they were added.

        Raises
        ------
        UserError
            If logits are not finite.
        """
        parts = []
        few = self.tokens_at_once()
        for start in range(0, len(self.tokens), few):
            rows = slice(start, start + few)
            try:
                parts.append(self.read_rows(rows))
            except NoNumberError as error:
                layer, row = divmod(error.row, len(self.tokens[rows]))
                at = NoNumberError(start + row, len(self.tokens))
                raise UserError(f"layer {self.layers[layer]}: {at}") from error
        return LayersReadout(
            *(torch.cat([getattr(p, f.name) for p in parts], dim=1) for f in fields(LayersReadout))
        )

    @abc.abstractmethod
    def tokens_at_once(self) -> int:
        """Number of tokens that are read together."""

    @abc.abstractmethod
    def read_rows(self, rows: slice) -> LayersReadout:
        """Read some tokens at all layers; a `NoNumberError` counts rows through all layers."""


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
    """Asks the lens for the logits of a chunk of tokens at each layer."""

    def __init__(self, lens: AbstractLens, tokens: Tensor, vocabulary: int) -> None:
        super().__init__(lens, tokens)
        self._vocabulary = vocabulary
        self._states: list[Tensor] = []

    def add(self, layer: int, states: Tensor) -> None:
        """Keep them."""
        self.layers.append(layer)
        self._states.append(states)

    def tokens_at_once(self) -> int:
        """As many as the logits of all layers may take memory for."""
        return max(16, _CHUNK_BYTES // (4 * self._vocabulary * len(self.layers)))

    def read_rows(self, rows: slice) -> LayersReadout:
        """Read one layer after the other, then compare them."""
        seen: list[Readout] = []
        logits: list[Tensor] = []
        tokens = self.tokens[rows]
        for place, (layer, states) in enumerate(zip(self.layers, self._states, strict=True)):
            try:
                z = self.lens.read(layer, states[rows][None])[0]
                seen.append(read_logits(z, tokens.to(z.device)))
            except NoNumberError as error:
                raise NoNumberError(place * len(tokens) + error.row, error.rows) from error
            except UserError as error:
                raise UserError(f"layer {layer}: {error}") from error
            logits.append(z.detach().float())
        columns = {f.name: torch.stack([getattr(r, f.name) for r in seen]) for f in fields(Readout)}
        z = torch.stack(logits)
        # The most probable token's logit is the largest, and 1 / s its probability.
        largest = z.gather(2, columns["top1"][..., None])[..., 0]
        log_normaliser = largest - columns["top1_prob"].log()
        return LayersReadout(
            **columns,
            hindsight_gain=expected_gain(z.permute(2, 0, 1), log_normaliser),
            tempered=tempered_log_prob(z[-1].T, log_normaliser[-1], columns["log_prob"][-1]),
        )


@final
class TileReader(AbstractReader):
    """Reads all layers of a few tokens by tiles of the head."""

    def __init__(self, lens: AbstractLens, tokens: Tensor, head: Unembedding) -> None:
        super().__init__(lens, tokens)
        self._head, self._device = head, head.linear.weight.device
        self._states: list[Tensor] = []
        self._temperature: list[float] = []

    def add(self, layer: int, states: Tensor) -> None:
        """Keep what the head is to be given."""
        try:
            found = self.lens.before_head(layer, states[None])
        except UserError as error:
            raise UserError(f"layer {layer}: {error}") from error
        assert found is not None, "a lens reads all layers in one way"
        x, temperature = found
        self.layers.append(layer)
        self._states.append(x[0].to(self._device))
        self._temperature.append(temperature)

    def tokens_at_once(self) -> int:
        """As many as make up a block."""
        return block_of(self._device, self._head.entries, len(self.layers))

    def read_rows(self, rows: slice) -> LayersReadout:
        """Read one block."""
        x = torch.stack([states[rows] for states in self._states])
        temperature = torch.tensor(self._temperature, device=self._device)
        return read_tiles(self._head, x, temperature, self.tokens[rows].to(self._device))
