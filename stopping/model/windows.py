"""The batch of observed entropies that every rule reads: validation and the scan's geometry.

A batch is an array `(n, layers)`, nats, with the final layer `L` in the last column. The *window*
`W = [l_min, L]` is its last `K + 1` columns; a batch with fewer columns is all window.
"""

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.types import BoolArray, FloatArray, IntArray


def as_batch(entropy: ArrayLike, what: str = "entropy") -> FloatArray:
    """Return `entropy` as a float64 array `(n, layers)`, or say why it is none.

    Raises
    ------
    UserError
        If the array is not two-dimensional and real, has no layer, or holds NaN or infinity.
    """
    given = np.asarray(entropy)
    if given.dtype.kind not in "fiu":
        raise UserError(f"{what}: expected real numbers, got dtype {given.dtype}")
    if given.ndim != 2 or given.shape[1] == 0:
        raise UserError(
            f"{what}: expected shape (tokens, layers) with at least one layer, got {given.shape}; "
            "for one token pass x[None, :]"
        )
    batch = given.astype(np.float64, copy=False)
    finite = np.isfinite(batch)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise UserError(
            f"{what}: {np.count_nonzero(~finite)} value(s) are NaN or infinite, the first at "
            f"token {row}, layer index {column}; drop or repair those tokens first"
        )
    return batch


def final_layer(x: FloatArray) -> int:
    """Column index of the final layer `L`."""
    return int(x.shape[1]) - 1


def window_start(layers: int, K: int) -> int:
    """Column index of `l_min` for a window of at most `K` steps back."""
    if K < 0:
        raise UserError(f"K: the window must allow K >= 0 steps back, got {K}")
    return max(0, layers - 1 - K)


def run_length(goes_on: BoolArray) -> IntArray:
    """Length of the run of True that starts at the last column, shape (n,).

    Column `i` of `goes_on` says whether a scan standing on layer `i + 1` steps down to `i`.
    """
    if goes_on.shape[1] == 0:
        return np.zeros(goes_on.shape[0], dtype=np.intp)
    stops = ~goes_on[:, ::-1]
    # argmax finds the first stop; a run without one is as long as the window allows.
    length: IntArray = np.where(stops.any(axis=1), stops.argmax(axis=1), stops.shape[1])
    return length
