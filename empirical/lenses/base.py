"""What a lens is, and the raw one.

A lens reads the residual state `h` of a layer as logits over the vocabulary; the entropy of their
softmax is the observed entropy `x[l]`. The *raw* logit lens is the model's own final norm and
head, the same at every layer. A *calibrated* lens corrects each layer for not being the last; the
difference between the two entropies is the projection noise `eps[l]`, made measurable.
"""

import abc
from typing import final

from torch import Tensor

from empirical.model.anatomy import Anatomy


class AbstractLens(abc.ABC):
    """A map from the residual states of any layer to logits.

    A lens reads each position on its own: the logits of one never depend on the others.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Short name for tables and provenance, such as "raw"."""

    @property
    def keeps_final(self) -> bool:
        """Whether reading layer `L` gives the model's own logits, so that nobody need read it."""
        return True

    @abc.abstractmethod
    def read(self, layer: int, h: Tensor) -> Tensor:
        """Logits of the states `h` that layer number `layer` returned.

        Parameters
        ----------
        layer : int
            Number of the layer, from 1 to `L`.
        h : (batch, positions, hidden)
            Residual states, as the layer returns them, in the model's precision.

        Returns
        -------
        (batch, positions, vocabulary)
        """

    def before_head(self, layer: int, h: Tensor) -> tuple[Tensor, float] | None:
        """Return `x` and `T` such that `read(layer, h)` is the model's head at `x`, divided by `T`.

        `x` has shape (batch, positions, hidden). None if the lens reads layers otherwise; it is
        then asked for its logits alone.
        """
        return None


@final
class RawLens(AbstractLens):
    """The model's own final norm and head at every layer."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy

    @property
    def name(self) -> str:
        """Name of the lens that changes nothing."""
        return "raw"

    def read(self, layer: int, h: Tensor) -> Tensor:
        """Logits that the model would have given had its final layer returned `h`."""
        return self._anatomy.lens(h)

    def before_head(self, layer: int, h: Tensor) -> tuple[Tensor, float]:
        """Return the normed states, and a temperature of 1."""
        return self._anatomy.normed(h), 1.0
