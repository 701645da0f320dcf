"""What a tested function takes and gives: every convention of every kind, once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from stopping.errors import UserError
from stopping.testing.arrays import DTYPES, Dtype, Framework

Kind: TypeAlias = Literal["selection", "entropy", "decoder", "lens"]
Order: TypeAlias = Literal["deep-last", "deep-first"]
Returns: TypeAlias = Literal["index", "depth"]

_ARRAYS = ("framework", "device")
_SEARCH = ("K", "p", "level", "layer_axis", "order", "layers", "dtype", *_ARRAYS)
KNOWN: Mapping[Kind, tuple[str, ...]] = {
    "selection": (*_SEARCH, "batched", "returns"),
    "entropy": ("dtypes", "tolerance", "batched", *_ARRAYS),
    "decoder": (*_SEARCH, "final_normed", "tolerance"),
    "lens": ("layer_axis", "order", "layers", "dtype", "final_normed", "tolerance", *_ARRAYS),
}
"""Conventions that each kind knows."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Conventions:
    """The conventions that a function follows.

    Attributes
    ----------
    K : int
        Most steps back that it takes.
    p : float
        Probability of the search; with `1 - p` a token keeps the final layer.
    level : float
        Chance that a right implementation is rejected by a test of frequencies.
    layer_axis : int
        Axis of the layers in the batch that it gets: 1 for `(n, layers, ...)`, 0 for
        `(layers, n, ...)`.
    order : "deep-last" or "deep-first"
        Where the final layer lies on that axis.
    layers : (least, most), optional
        Numbers of layers that it accepts; default 1 to `K + 4`.
    batched : bool
        False for a function of one token or row: without a first axis, and to one number.
    returns : "index" or "depth"
        Position on the layer axis, or steps back from the final layer.
    final_normed : bool
        Whether the final layer's state comes with the norm applied, as in the `hidden_states` of
        transformers; the head's norm is then not to be applied to it again.
    dtype : str
        Precision of the arrays that it gets.
    dtypes : tuple of str
        Precisions of the logits that an entropy function takes; the first is that of the basic
        requirements. numpy has no bfloat16: functions of numpy arrays are not asked about it.
    tolerance : float
        Largest error: of an entropy in nats; of a logit relative to the largest, or to 1. An error
        of an entropy is projection noise: by T4 the search loses at most twice as much to it. The
        default is above the rounding of float32 sums in pairs or blocks, as libraries take them,
        and below that of half precision. (One running float32 sum over 50,257 equal tokens is off
        by 4e-3.)
    framework, device : str
        Kind and place of the arrays; "auto" tries numpy, then torch if that is loaded.
    """

    K: int = 10
    p: float = 1.0
    level: float = 1e-4
    layer_axis: int = 1
    order: Order = "deep-last"
    layers: tuple[int, int] | None = None
    batched: bool = True
    returns: Returns = "index"
    final_normed: bool = False
    dtype: Dtype = "float32"
    dtypes: tuple[Dtype, ...] = ("float32", "bfloat16", "float16")
    tolerance: float = 1e-3
    framework: Framework = "auto"
    device: str = "cpu"

    def __post_init__(self) -> None:
        low, high = self.accepted
        unknown = {self.dtype, *self.dtypes} - set(DTYPES)
        wrong = {
            f"K: with K = {self.K} there is nothing to search, need at least 1": self.K < 1,
            f"p: must lie in [0, 1], got {self.p}": not 0.0 <= self.p <= 1.0,
            f"level: must lie in (0, 1), got {self.level}": not 0.0 < self.level < 1.0,
            f"order: choose deep-last or deep-first, got {self.order!r}": (
                self.order not in ("deep-last", "deep-first")
            ),
            f"layers: need 1 <= least <= most, most >= 2, got {self.layers}": (
                not (1 <= low <= high and high >= 2)
            ),
            f"returns: choose index or depth, got {self.returns!r}": (
                self.returns not in ("index", "depth")
            ),
            f"dtypes: choose from {', '.join(DTYPES)}, got {self.dtypes or 'none'}": (
                bool(unknown) or not self.dtypes
            ),
            f"tolerance: must be > 0, got {self.tolerance}": not self.tolerance > 0,
        }
        for message, found in wrong.items():
            if found:
                raise UserError(message)

    @property
    def accepted(self) -> tuple[int, int]:
        """Least and most layers that it accepts."""
        return self.layers or (1, self.K + 4)

    @property
    def drawn(self) -> bool:
        """Whether anything is random."""
        return 0.0 < self.p < 1.0
