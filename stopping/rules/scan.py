"""The conservative backward search (the paper's Algorithm 1) and its variants.

Start at `L`; while `l > l_min` and `x[l-1] < x[l]` (strictly), step to `l - 1`; return `l`:

    V^ = max{ l in W : l = l_min or x[l-1] >= x[l] }.

The paper also prints `V^ = max{ l < L | H(l-1) >= H(l) }`, which can never return `L` and so
contradicts its own Algorithm 1: on a trace that falls all the way to `L` the algorithm stays at
`L`, the formula leaves it. The algorithm is what is implemented here; `printed_formula` is the
other one, kept so that the difference can be shown and tested.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from stopping.model.windows import final_layer, run_length, window_start
from stopping.rules.base import AbstractRule, Reading, require, require_generator
from stopping.types import FloatArray, IntArray


def scan_depth(x: FloatArray, K: int, tau: float = 0.0) -> IntArray:
    """Steps back that the search takes, shape (n,): goes on while `x[l-1] < x[l] - tau`."""
    window = x[:, window_start(x.shape[1], K) :]
    return run_length(window[:, :-1] < window[:, 1:] - tau)


def scan_projections(depth: IntArray, layers: int, K: int) -> IntArray:
    """Projections beyond `L` for a scan that took `depth` steps: one more, unless at `l_min`."""
    return np.minimum(depth + 1, layers - 1 - window_start(layers, K))


def printed_formula(x: FloatArray, K: int = 10) -> IntArray:
    """`max{ l < L : l = l_min or x[l-1] >= x[l] }`, the paper's displayed definition."""
    if x.shape[1] == 1:
        return np.zeros(x.shape[0], dtype=np.intp)
    return final_layer(x) - 1 - scan_depth(x[:, :-1], max(K - 1, 0))


@final
@dataclass(frozen=True)
class Search(AbstractRule):
    """The paper's search: at most `K` steps back; with probability `1 - p` it stays at `L`."""

    K: int = 10
    p: float = 1.0
    kind: ClassVar[str] = "search"
    reading: ClassVar[Reading] = "backward"

    def __post_init__(self) -> None:
        require(self.K >= 0, f"search: K must be >= 0, got {self.K}")
        require(0.0 <= self.p <= 1.0, f"search: p must be in [0, 1], got {self.p}")

    @property
    def name(self) -> str:
        return "search" if self.p == 1.0 else f"search p={self.p:g}"

    def _choose(self, x: FloatArray, rng: np.random.Generator | None) -> IntArray:
        depth = scan_depth(x, self.K)
        if 0.0 < self.p < 1.0:
            depth = depth * (
                require_generator(rng, "search with 0 < p < 1").random(len(x)) < self.p
            )
        elif self.p == 0.0:
            depth = np.zeros_like(depth)
        return final_layer(x) - depth

    def _projections(self, x: FloatArray) -> IntArray:
        # The draw can precede the search, so a token that falls back costs nothing; what
        # is counted is the search itself.
        if self.p == 0.0:
            return np.zeros(x.shape[0], dtype=np.intp)
        return scan_projections(scan_depth(x, self.K), x.shape[1], self.K)


@final
@dataclass(frozen=True)
class Shifted(AbstractRule):
    """The search's layer moved by `shift` (positive: towards `L`), kept within the window."""

    shift: int
    K: int = 10
    kind: ClassVar[str] = "shifted"
    reading: ClassVar[Reading] = "backward"

    def __post_init__(self) -> None:
        require(self.K >= 0, f"shifted: K must be >= 0, got {self.K}")

    @property
    def name(self) -> str:
        return f"search {self.shift:+d}"

    def _choose(self, x: FloatArray, rng: np.random.Generator | None) -> IntArray:
        last = final_layer(x)
        moved = last - scan_depth(x, self.K) + self.shift
        return np.clip(moved, window_start(x.shape[1], self.K), last)

    def _projections(self, x: FloatArray) -> IntArray:
        scan = scan_projections(scan_depth(x, self.K), x.shape[1], self.K)
        return np.maximum(scan, final_layer(x) - self._choose(x, None))


@final
@dataclass(frozen=True)
class Tolerance(AbstractRule):
    """The search that goes on only while entropy falls by more than `tau` nats (T5)."""

    tau: float
    K: int = 10
    kind: ClassVar[str] = "tolerance"
    reading: ClassVar[Reading] = "backward"

    def __post_init__(self) -> None:
        require(
            np.isfinite(self.tau) and self.tau >= 0,
            f"tolerance: tau must be a number of nats >= 0, got {self.tau}",
        )
        require(self.K >= 0, f"tolerance: K must be >= 0, got {self.K}")

    @property
    def name(self) -> str:
        return f"tolerance {self.tau:g}"

    def _choose(self, x: FloatArray, rng: np.random.Generator | None) -> IntArray:
        return final_layer(x) - scan_depth(x, self.K, self.tau)

    def _projections(self, x: FloatArray) -> IntArray:
        return scan_projections(scan_depth(x, self.K, self.tau), x.shape[1], self.K)


@final
@dataclass(frozen=True)
class Patience(AbstractRule):
    """The search that forgives `m` layers in a row without a new minimum.

    It remembers the least entropy so far, gives up after `m + 1` layers in a row that do not fall
    strictly below it, and returns to the layer that attained it. `m = 0` is the search itself.
    """

    m: int = 1
    K: int = 10
    kind: ClassVar[str] = "patience"
    reading: ClassVar[Reading] = "backward"

    def __post_init__(self) -> None:
        require(self.m >= 0, f"patience: m must be >= 0, got {self.m}")
        require(self.K >= 0, f"patience: K must be >= 0, got {self.K}")

    @property
    def name(self) -> str:
        return f"patience {self.m}"

    def _scan(self, x: FloatArray) -> tuple[IntArray, IntArray]:
        n, layers = x.shape
        best, best_value = np.full(n, layers - 1), x[:, -1].copy()
        failures, projections = np.zeros(n, dtype=np.intp), np.zeros(n, dtype=np.intp)
        for layer in range(layers - 2, window_start(layers, self.K) - 1, -1):
            scanning = failures <= self.m
            projections += scanning
            improves = scanning & (x[:, layer] < best_value)
            best[improves] = layer
            best_value[improves] = x[improves, layer]
            failures = np.where(improves, 0, failures + scanning)
        return best, projections

    def _choose(self, x: FloatArray, rng: np.random.Generator | None) -> IntArray:
        return self._scan(x)[0]

    def _projections(self, x: FloatArray) -> IntArray:
        return self._scan(x)[1]
