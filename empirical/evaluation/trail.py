"""What a decoder did along one text, token by token: enough for the paper's token statistics.

The search reads `x[L-1]` before it may stay at `L`, and whatever layer it stops at. So final-layer
rise, depth and entropy at the valley are there for every token without reading the whole window.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stopping.types import FloatArray

if TYPE_CHECKING:
    from empirical.decoding import Steps

_DIGITS = 6


@dataclass(frozen=True)
class Trail:
    """One entry for each token of a text.

    Attributes
    ----------
    last, before, chosen : tuple of float
        Observed entropies of the final layer, of the one before it in the window, and of the layer
        that was decoded, nats; NaN where not read.
    depth : tuple of int
        Layers back from the final one.
    token, final_token : tuple of int
        Most probable token of what was decoded, and of the final layer.
    """

    last: tuple[float, ...] = ()
    before: tuple[float, ...] = ()
    chosen: tuple[float, ...] = ()
    depth: tuple[int, ...] = ()
    token: tuple[int, ...] = ()
    final_token: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.depth)


def trail_of(steps: "Steps", row: int, tokens: int) -> Trail:
    """Take the first `tokens` steps of a row."""
    entropy = steps.entropy[row, :tokens].astype(np.float64)
    layer = steps.layer[row, :tokens]
    column = np.searchsorted(steps.layers, layer)
    chosen = entropy[np.arange(len(entropy)), column]
    before = entropy[:, -2] if entropy.shape[1] > 1 else np.full(len(entropy), np.nan)
    return Trail(
        last=_rounded(entropy[:, -1]),
        before=_rounded(before),
        chosen=_rounded(chosen),
        depth=tuple(steps.depth[row, :tokens].tolist()),
        token=tuple(steps.token[row, :tokens].tolist()),
        final_token=tuple(steps.final_token[row, :tokens].tolist()),
    )


def _rounded(values: FloatArray) -> tuple[float, ...]:
    return tuple(round(float(value), _DIGITS) for value in values)
