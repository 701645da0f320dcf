"""CALM-style exit on the gap between the two likeliest tokens.

Confident Adaptive Language Modeling (Schuster et al. 2022, NeurIPS, arXiv:2207.07061) leaves the
stack at the first layer that is confident enough; its softmax measure is the difference between the
two largest probabilities. There the layers above are skipped, exits are trained and thresholds
calibrated. Here all layers run, so this is the choice of the layer alone: the first of the window
whose gap exceeds the threshold, else the final one. It saves nothing. `forward` among the rules is
the same on entropies.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from torch import Tensor

from empirical.decoding.rivals.base import AbstractSelection
from stopping.errors import UserError
from stopping.types import IntArray


@final
@dataclass(frozen=True)
class Calm(AbstractSelection):
    """The first layer of the window whose top-two gap exceeds `threshold`."""

    threshold: float = 0.9
    K: int = 10
    kind: ClassVar[str] = "calm"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UserError(f"calm: threshold must be in [0, 1], got {self.threshold}")
        if self.K < 0:
            raise UserError(f"calm: K must be >= 0, got {self.K}")

    @property
    def name(self) -> str:
        """Name with the threshold."""
        return f"CALM-style {self.threshold:g}"

    def column(self, z: Tensor) -> IntArray:
        """First confident layer, else the final one."""
        two = z.softmax(-1).topk(min(2, z.shape[-1]), dim=-1).values
        gap = two[..., 0] - (two[..., 1] if two.shape[-1] == 2 else 0.0)
        confident = (gap > self.threshold).cpu().numpy()
        confident[-1] = True
        first: IntArray = confident.argmax(axis=0).astype(np.intp)
        return first
