"""The place where decoders join that are no rules on entropies.

A rule sees entropies and names a layer. A *decoder* may do anything with the window's logits:
contrast layers, move the final layer's logits, choose by another score. It says which layers it
reads, and makes a chooser that is called at every forward pass, in the place of the one for rules.
"""

import abc
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from empirical.decoding.choosing import Choice
from empirical.lenses import AbstractLens
from empirical.model.anatomy import Anatomy
from stopping.rules import AbstractKind


class Chooses(Protocol):
    """What is asked at each forward pass."""

    def choose(
        self,
        logits: Tensor,
        states: Mapping[int, Tensor],
        position: NDArray[np.int64],
        token: NDArray[np.int64],
    ) -> Choice:
        """Rewrite each row of `logits`, in place, and say what was done.

        Parameters
        ----------
        logits : (n, vocabulary)
            The model's own logits.
        states : (n, hidden) by layer number
            Residual states of the decoder's layers, all but `L` (0 are the embeddings).
        position, token : (n,) int
            Place in the sequence and token read last: what random draws of a row are keyed by.
        """


class AbstractDecoder(AbstractKind):
    """A way of decoding that is no rule on entropies; a frozen dataclass of its settings."""

    @abc.abstractmethod
    def window(self, depth: int, tied: bool) -> tuple[int, ...]:
        """Numbers of the layers that are read in a model of `depth` layers, ascending, `L` last.

        `tied` says whether input and output embeddings are one matrix.
        """

    @abc.abstractmethod
    def chooser(
        self, anatomy: Anatomy, lens: AbstractLens | None, layers: tuple[int, ...]
    ) -> Chooses:
        """Make what is asked at each forward pass; `lens` is the user's, None for the raw one."""
