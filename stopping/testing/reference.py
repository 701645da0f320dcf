"""What every implementation is compared with: Algorithm 1 as a loop, entropy in float64.

Written from the definitions and for reading, sharing no code with the package's own vectorised
rules, so that those can be examined too.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from stopping.types import FloatArray, IntArray


def algorithm_1(x: Sequence[float] | FloatArray, K: int) -> int:
    """Layer index that the paper's backward search chooses for one token.

    Start at `L`; while `l > l_min = max(0, L - K)` and `x[l-1] < x[l]` strictly, step to `l - 1`.
    """
    last = len(x) - 1
    l_min = max(0, last - K)
    layer = last
    while layer > l_min and x[layer - 1] < x[layer]:
        layer -= 1
    return layer


def search(x: ArrayLike, K: int) -> IntArray:
    """`algorithm_1` of each row of `x`, shape (n, layers) to (n,)."""
    return np.array([algorithm_1(row, K) for row in np.asarray(x)], dtype=np.intp)


def shannon_entropy(logits: ArrayLike) -> FloatArray:
    """Entropy in nats of the softmax of each row, in float64, shape (n, vocabulary) to (n,).

    `H = log s - sum e^y y / s` with `y = z - max z` and `s = sum e^y`: two terms that are never
    negative. A token at -inf has probability 0 and adds nothing.
    """
    z = np.asarray(logits, dtype=np.float64)
    y = z - z.max(axis=-1, keepdims=True)
    weight = np.exp(y)
    s = weight.sum(axis=-1)
    entropy: FloatArray = np.log(s) - (weight * np.where(weight > 0, y, 0.0)).sum(axis=-1) / s
    return entropy
