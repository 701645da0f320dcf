"""The head that a decoder under test gets: the model's final norm and its unembedding."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stopping.types import FloatArray

VOCABULARY, HIDDEN = 3, 4
SHARPEST = 8.0
"""Logit of a layer's token where its state has no silent part."""
GAIN = np.array([0.5, 1.0, 2.0, 1.0])


@dataclass(frozen=True, eq=False)
class Head:
    """Final RMS norm and unembedding, for numpy arrays and torch tensors alike.

    Attributes
    ----------
    gain : (hidden,)
        Weight of the norm.
    matrix : (vocabulary, hidden)
        Unembedding, without a bias.
    epsilon : float
        Added to the mean square.
    """

    gain: Any
    matrix: Any
    epsilon: float = 1e-6

    def norm(self, h: Any) -> Any:
        """Norm of the residual states `h`, (..., hidden)."""
        mean_square = (h * h).sum(-1)[..., None] / h.shape[-1]
        return h / (mean_square + self.epsilon) ** 0.5 * self.gain

    def unembed(self, u: Any) -> Any:
        """Logits (..., vocabulary) of normed states."""
        return u @ self.matrix.T

    def __call__(self, h: Any) -> Any:
        """Logits of residual states: the norm, then the unembedding."""
        return self.unembed(self.norm(h))


def matrix_for(gain: FloatArray) -> FloatArray:
    """Unembedding that undoes `gain`: a token's logit is `SHARPEST` times its cosine."""
    matrix = np.zeros((VOCABULARY, HIDDEN))
    entries = np.arange(VOCABULARY)
    matrix[entries, entries] = SHARPEST / np.sqrt(HIDDEN) / gain[:VOCABULARY]
    return matrix
