"""The head without the final norm, as the published code of DoLa and SLED reads earlier layers.

That code applies the unembedding to `hidden_states[l]` as it is. The final norm would rescale
every state; without it the logits of an earlier layer have another scale than the final layer's,
and so have entropies and divergences taken from them. This lens is for numbers that shall be
compared with published ones, not for reading entropies. What the model does after unembedding
(soft caps, scales) is kept; the published code, written for models without any, has none.
"""

from typing import final

from torch import Tensor

from empirical.lenses import AbstractLens
from empirical.model.anatomy import Anatomy


@final
class UnnormedLens(AbstractLens):
    """The model's own head on the state of an earlier layer, the final norm left out."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy

    @property
    def name(self) -> str:
        """Name in tables and provenance."""
        return "raw, no norm"

    def read(self, layer: int, h: Tensor) -> Tensor:
        """Logits of the bare head; of the final layer the model's own."""
        if layer == len(self._anatomy.layers):
            return self._anatomy.lens(h)
        logits: Tensor = self._anatomy.headless(inputs_embeds=h).logits
        return logits
