"""Rules that do not scan: the final layer, a fixed offset, the window's minimum, forward exit."""

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from stopping.model.windows import final_layer, window_start
from stopping.rules.base import AbstractInWindow, AbstractRule, Reading, require
from stopping.types import FloatArray, IntArray


@final
@dataclass(frozen=True)
class Final(AbstractRule):
    """Ordinary decoding: always the final layer `L`."""

    kind: ClassVar[str] = "final"

    @property
    def name(self) -> str:
        return "final layer"

    def _choose(self, x: FloatArray, rng: np.random.Generator | None) -> IntArray:
        return np.full(x.shape[0], final_layer(x))

    def _projections(self, x: FloatArray) -> IntArray:
        return np.zeros(x.shape[0], dtype=np.intp)


@final
@dataclass(frozen=True)
class FixedOffset(AbstractRule):
    """The fixed layer `L - k`, or the first one where the batch is shallower."""

    k: int
    kind: ClassVar[str] = "offset"
    reading: ClassVar[Reading] = "sinking"

    def __post_init__(self) -> None:
        require(self.k >= 0, f"offset: k must be >= 0, got {self.k}")

    @property
    def name(self) -> str:
        return f"fixed L-{self.k}"

    def _choose(self, x: FloatArray, rng: np.random.Generator | None) -> IntArray:
        return np.full(x.shape[0], window_start(x.shape[1], self.k))

    def _projections(self, x: FloatArray) -> IntArray:
        # One projection in all: the chosen layer's replaces the final layer's.
        return np.zeros(x.shape[0], dtype=np.intp)


@final
@dataclass(frozen=True)
class WindowMinimum(AbstractInWindow):
    """The layer of least entropy in the window; among ties the deepest."""

    K: int = 10
    kind: ClassVar[str] = "minimum"
    reading: ClassVar[Reading] = "backward"

    def __post_init__(self) -> None:
        require(self.K >= 0, f"minimum: K must be >= 0, got {self.K}")

    @property
    def name(self) -> str:
        return "window minimum"

    def _in_window(self, window: FloatArray, rng: np.random.Generator | None) -> IntArray:
        depth: IntArray = window[:, ::-1].argmin(axis=1)
        return final_layer(window) - depth


@final
@dataclass(frozen=True)
class ForwardExit(AbstractInWindow):
    """CALM-style exit: the first layer of the window whose entropy is at most `threshold` nats.

    Falls through to `L`. Schuster et al. (2022) exit on a confidence; on entropies alone the
    confident end of the scale is the low one. All layers still run, so this saves no compute.
    """

    threshold: float = 0.1
    K: int = 10
    kind: ClassVar[str] = "forward"
    reading: ClassVar[Reading] = "sinking"

    def __post_init__(self) -> None:
        require(
            np.isfinite(self.threshold) and self.threshold >= 0,
            f"forward: threshold must be a number of nats >= 0, got {self.threshold}",
        )
        require(self.K >= 0, f"forward: K must be >= 0, got {self.K}")

    @property
    def name(self) -> str:
        return f"forward exit {self.threshold:g}"

    def _in_window(self, window: FloatArray, rng: np.random.Generator | None) -> IntArray:
        confident = window <= self.threshold
        confident[:, -1] = True
        first: IntArray = confident.argmax(axis=1)
        return first

    def _projections(self, x: FloatArray) -> IntArray:
        # It reads from `l_min` up to the chosen layer, whose projection replaces the final one's.
        return self._choose(x, None) - window_start(x.shape[1], self.K)
