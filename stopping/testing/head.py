"""The head that is handed to whoever gets states: the model's final norm and its unembedding."""

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
        Unembedding.
    bias : (vocabulary,), optional
        Added by the unembedding.
    scale, cap : float
        A logit is `cap tanh(scale z / cap)` of what the unembedding gives; a cap of 0 bends
        nothing.
    epsilon : float
        Added to the mean square.
    """

    gain: Any
    matrix: Any
    bias: Any = None
    scale: float = 1.0
    cap: float = 0.0
    epsilon: float = 1e-6

    @property
    def arrays(self) -> tuple[Any, ...]:
        """Weights."""
        return (
            (self.gain, self.matrix) if self.bias is None else (self.gain, self.matrix, self.bias)
        )

    def norm(self, h: Any) -> Any:
        """Norm of the residual states `h`, (..., hidden)."""
        mean_square = (h * h).sum(-1)[..., None] / h.shape[-1]
        return h / (mean_square + self.epsilon) ** 0.5 * self.gain

    def unembed(self, u: Any) -> Any:
        """Logits (..., vocabulary) of normed states."""
        z = u @ self.matrix.T
        z = (z if self.bias is None else z + self.bias) * self.scale
        if not self.cap:
            return z
        bent = z / self.cap
        return self.cap * (np.tanh(bent) if isinstance(bent, np.ndarray) else bent.tanh())

    def __call__(self, h: Any) -> Any:
        """Logits of residual states: the norm, then the unembedding."""
        return self.unembed(self.norm(h))


def head_with(gain: FloatArray, **others: Any) -> Head:
    """Return a head that undoes its `gain`: a token's logit is `SHARPEST` times its cosine."""
    matrix = np.zeros((VOCABULARY, HIDDEN))
    tokens = np.arange(VOCABULARY)
    matrix[tokens, tokens] = SHARPEST / np.sqrt(HIDDEN) / gain[:VOCABULARY]
    return Head(gain, matrix, **others)


PLAIN = head_with(np.ones(HIDDEN))
GAINED = head_with(GAIN)
