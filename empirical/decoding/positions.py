"""Where the logits of one forward pass stand in their sequences, whatever the padding.

A position counts the real tokens of its row, so it is the same with and without padding. It comes
from the attention mask where there is one, else from `position_ids`, else from the number of tokens
that were read before: the cache's length, or the length of the text that `generate` is at, or that
of the passes so far. A state-space model's cache has no length of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stopping.types import BoolArray

NO_TOKEN = -1


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions of the (rows, kept) logits that a forward pass returns.

    Attributes
    ----------
    position : (rows, kept) int64
        Position, from 0, of the token that the state has just read.
    token : (rows, kept) int64
        That token, `NO_TOKEN` where the model was given embeddings.
    real : (rows, kept) bool
        False on padding.
    column : (kept,) int64
        Place in the sequence with its padding, from 0: the same for all rows.
    """

    position: NDArray[np.int64]
    token: NDArray[np.int64]
    real: BoolArray
    column: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Inputs:
    """The arguments of one forward pass that say where it stands; taken before the pass runs."""

    tokens: Tensor | None
    rows: int
    length: int
    past: int
    mask: Tensor | None
    position_ids: Tensor | None
    keep: int | Tensor
    cached: bool

    @classmethod
    def of(
        cls,
        args: tuple[Any, ...],
        arguments: Mapping[str, Any],
        first_position: int = 0,
        text: int | None = None,
        before: "Inputs | None" = None,
    ) -> "Inputs":
        """Read the arguments of a causal language model's forward pass.

        `first_position` is what the model calls the place of a text's first token, `text` the
        length of the text that `generate` is at, None outside of it, and `before` the pass that
        came before.
        """
        tokens = arguments.get("input_ids", args[0] if args else None)
        given = tokens if tokens is not None else arguments["inputs_embeds"]
        rows, length = int(given.shape[0]), int(given.shape[1])
        mask = arguments.get("attention_mask")
        # A static cache comes with a mask of four axes, ready for the attention.
        mask = mask if isinstance(mask, Tensor) and mask.ndim == 2 else None
        places: Any = arguments.get("position_ids")
        flat = isinstance(places, Tensor) and places.ndim == 2
        cache = arguments.get("past_key_values", arguments.get("cache_params"))
        if mask is not None:
            past: int | None = mask.shape[1] - length
        else:
            past = _cache_length(cache)
        if past is None and text is not None:
            past = max(0, text - length)  # a pass reads the text to its end
        if past is None:
            past = before.past + before.length if before and _has_read(cache) else 0
        return cls(
            tokens=tokens,
            rows=rows,
            length=length,
            past=past,
            mask=mask,
            position_ids=places - first_position if flat else None,
            keep=arguments.get("logits_to_keep", 0),
            cached=arguments.get("use_cache") is not False,
        )

    def kept(self, h: Tensor) -> Tensor:
        """States (rows, length, ...) of the positions whose logits are wanted."""
        if isinstance(self.keep, Tensor):
            return h[:, self.keep.to(h.device)]
        # A copy of the few states lets go of the many.
        return h if self.keep == 0 or self.keep >= self.length else h[:, -self.keep :].clone()

    def learned(self, text: int) -> int:
        """Positions before a text of so many, if this is its first pass: those of a learned prompt.

        It fills the cache, or stands before the embeddings that are given in the tokens' place.
        """
        ahead = max(0, self.past + self.length - text)
        if self.past > 0:
            return min(self.past, ahead)
        return ahead if self.tokens is None else 0

    def begins(self, before: "Inputs | None") -> bool:
        """Whether this pass starts new sequences, `before` being the pass that came before it."""
        if before is None or before.rows != self.rows:
            return True
        # Without a cache every pass reads the whole sequence again, one token longer.
        goes_on = not self.cached and self.length == before.length + 1
        return self.past == 0 and not goes_on

    def places(self) -> Positions:
        """Return the places of the logits."""
        columns = torch.arange(self.length)
        shape = (self.rows, self.length)
        real = torch.ones(shape, dtype=torch.bool)
        if self.mask is not None:
            mask = self.mask.cpu().bool()
            position = (mask.long().cumsum(1) - 1)[:, -self.length :]
            real = mask[:, -self.length :]
        elif self.position_ids is not None:
            position = self.position_ids.cpu().expand(shape)
        else:
            position = (columns + self.past).expand(shape)
        token = torch.full(shape, NO_TOKEN) if self.tokens is None else self.tokens.cpu()
        return Positions(
            position=self.kept(position).numpy(),
            token=self.kept(token).numpy(),
            real=self.kept(real).numpy(),
            column=self.kept(columns[None] + self.past)[0].numpy(),
        )


def _cache_length(cache: Any) -> int | None:
    """Tokens in a cache; None where there is no cache, or one that does not know."""
    try:
        return int(cache.get_seq_length())
    except (AttributeError, ValueError):
        return None


def _has_read(cache: Any) -> bool:
    """Whether a cache that keeps a state instead of a sequence has read any token."""
    state = getattr(cache, "has_previous_state", False)
    return bool(state() if callable(state) else state)
