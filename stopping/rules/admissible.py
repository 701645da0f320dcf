"""Rules that allow for the noise: guarded and hedged searches, minimax (T6-T8), T15 and T17.

All but the adaptive guard need a noise level in nats, `stopping audit` estimates one. Theory and
proofs stand in `stopping.theory` (`guarded`, `certificates`, `hedged_minimum`, `adaptive_guard`);
here they meet the common interface.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

import numpy as np
from numpy.typing import ArrayLike

from stopping.model.windows import as_batch, final_layer, window_start
from stopping.rules.base import AbstractInWindow, Reading, require, require_generator
from stopping.rules.scan import scan_projections
from stopping.theory.adaptive_guard import running_guard
from stopping.theory.certificates import hedged_weights, minimax_layer
from stopping.theory.guarded import guarded_search, hedged_search
from stopping.theory.hedged_minimum import hedged_minimum
from stopping.types import FloatArray, IntArray


def _draw(weights: FloatArray, rng: np.random.Generator) -> IntArray:
    """Draw a layer of each row from its weights."""
    beyond = rng.random(len(weights))[:, None] >= np.cumsum(weights, axis=1)
    # The weights may miss 1 by a rounding.
    last = weights.shape[1] - 1 - (weights[:, ::-1] > 0).argmax(axis=1)
    drawn: IntArray = np.minimum(beyond.sum(axis=1), last)
    return drawn


def _require_level(value: float, K: int, what: str) -> None:
    require(np.isfinite(value) and value >= 0, f"{what} must be a number of nats >= 0, got {value}")
    require(K >= 0, f"{what.partition(':')[0]}: K must be >= 0, got {K}")


@final
@dataclass(frozen=True)
class Guarded(AbstractInWindow):
    """The search whose reference sinks by `2 guard` per step, so that it outlives no noise.

    With `guard <= eps_max` it never loses more than the search in a world with A1-A4, and with
    `guard = eps_max` it stops at `V*` or one layer before it.
    """

    guard: float
    K: int = 10
    kind: ClassVar[str] = "guarded"
    reading: ClassVar[Reading] = "backward"

    def __post_init__(self) -> None:
        _require_level(self.guard, self.K, "guarded: guard")

    @property
    def name(self) -> str:
        return f"guarded {self.guard:g}"

    def _in_window(self, window: FloatArray, rng: np.random.Generator | None) -> IntArray:
        return guarded_search(window, self.guard)

    def _projections(self, x: FloatArray) -> IntArray:
        return scan_projections(final_layer(x) - self._choose(x, None), x.shape[1], self.K)


@final
@dataclass(frozen=True)
class Adaptive(AbstractInWindow):
    """The guarded search whose guard is the largest noise level that its tokens have proved (T17).

    It needs no noise level: each token's least level (T9) is at most `eps_max` wherever A1-A4 hold,
    so it never loses more than the search there. `guard` is what earlier tokens have proved.
    """

    guard: float = 0.0
    K: int = 10
    kind: ClassVar[str] = "adaptive"
    remembers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require_level(self.guard, self.K, "adaptive: guard")

    @property
    def name(self) -> str:
        return "adaptive guard" if self.guard == 0 else f"adaptive guard from {self.guard:g}"

    def _in_window(self, window: FloatArray, rng: np.random.Generator | None) -> IntArray:
        return guarded_search(window, running_guard(window, self.guard))

    def after(self, entropy: ArrayLike) -> Self:
        """Return the rule with the guard that these tokens prove."""
        x = as_batch(entropy)
        l_min = window_start(x.shape[1], self.K)
        if l_min == final_layer(x) or len(x) == 0:
            return self
        return replace(self, guard=float(running_guard(x[:, l_min:], self.guard)[-1]))


@dataclass(frozen=True)
class AbstractAtLevel(AbstractInWindow):
    """A choice in the window at a noise level, nats, for which that whole window is read."""

    eps_max: float
    K: int = 10

    def __post_init__(self) -> None:
        _require_level(self.eps_max, self.K, f"{self.kind}: eps_max")

    @property
    def name(self) -> str:
        return f"{self.kind.replace('-', ' ')} {self.eps_max:g}"


@final
@dataclass(frozen=True)
class Hedged(AbstractAtLevel):
    """The randomised search that attains the game's value `eps_max` (T7)."""

    kind: ClassVar[str] = "hedged"

    def _in_window(self, window: FloatArray, rng: np.random.Generator | None) -> IntArray:
        return _draw(hedged_search(window, self.eps_max), require_generator(rng, self.kind))

    def _projections(self, x: FloatArray) -> IntArray:
        return Guarded(self.eps_max, self.K).projections(x)


@final
@dataclass(frozen=True)
class Minimax(AbstractAtLevel):
    """The layer of least certificate (T6, T8); the final layer for a token that nothing explains.

    On explained tokens it is the guarded search with `guard = eps_max`.
    """

    kind: ClassVar[str] = "minimax"

    def _in_window(self, window: FloatArray, rng: np.random.Generator | None) -> IntArray:
        return minimax_layer(window, self.eps_max)


@final
@dataclass(frozen=True)
class HedgedMinimax(AbstractAtLevel):
    """The randomised rule of least worst case for each token (T7, T8), by its certificates.

    The final layer for a token that nothing explains. The hedged search needs fewer projections
    and has the same guarantee over all worlds; this one is never worse at the token observed.
    """

    kind: ClassVar[str] = "hedged-minimax"

    def _in_window(self, window: FloatArray, rng: np.random.Generator | None) -> IntArray:
        weights = hedged_weights(window, self.eps_max).weights
        return _draw(weights, require_generator(rng, self.kind))


@final
@dataclass(frozen=True)
class HedgedMinimum(AbstractAtLevel):
    """The randomised rule of least worst case against the best layer, under A2 alone (T15)."""

    kind: ClassVar[str] = "hedged-minimum"

    def _in_window(self, window: FloatArray, rng: np.random.Generator | None) -> IntArray:
        return _draw(hedged_minimum(window, self.eps_max), require_generator(rng, self.kind))
