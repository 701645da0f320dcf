"""The paths of a regression, as many at a time as memory should hold.

Each block of paths has a stream of its own and can be drawn again from it. A regression looks at
all paths several times for each time of the horizon: one block is held throughout, more are drawn
anew at each look, which costs time in proportion to the horizon and no memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stopping.errors import UserError
from stopping.optimal.problem import AbstractControlledProblem, AbstractProblem, View
from stopping.types import FloatArray

BLOCK = 1 << 16


@dataclass(frozen=True, eq=False)
class Piece:
    """One block of paths at time `t`: what is known, and the step that follows."""

    rows: slice
    view: View
    problem: AbstractProblem
    further: FloatArray
    later: View | None = None

    @cached_property
    def increments(self) -> FloatArray:
        """Martingale increments of the step, shape (n, m)."""
        if not isinstance(self.problem, AbstractControlledProblem):
            raise TypeError("no martingales of the steps are known")
        after = self.later or self.problem.look(self.further)
        return self.problem.increments(self.view, after, self.further)


class TrainingPaths:
    """`n` paths of a problem in blocks."""

    def __init__(
        self, problem: AbstractProblem, rng: np.random.Generator, n: int, block: int = BLOCK
    ) -> None:
        if n < 1 or block < 1:
            raise UserError(f"paths: at least one is needed, in blocks of at least one, got {n}")
        self._problem = problem
        sizes = [min(block, n - start) for start in range(0, n, block)]
        seeds = rng.integers(0, 1 << 63, size=len(sizes))
        self._blocks = list(zip(sizes, seeds.tolist(), strict=True))
        self._held = self._draw(0) if len(sizes) == 1 else None
        self._last: tuple[int, Piece] | None = None

    def at(self, t: int) -> Iterator[Piece]:
        """Yield all blocks as they are known at time `t`."""
        if self._held is not None:
            if self._last is None or self._last[0] != t:
                # Times run backwards: what is known one step later was looked at just before.
                known = self._last is not None and self._last[0] == t + 1
                later = self._last[1].view if known and self._last else None
                self._last = t, self._piece(0, self._held, t, later)
            yield self._last[1]
            return
        start = 0
        for index, (size, _) in enumerate(self._blocks):
            yield self._piece(start, self._draw(index), t)
            start += size

    def _draw(self, index: int) -> FloatArray:
        size, seed = self._blocks[index]
        return self._problem.sample(np.random.default_rng(seed), size)

    def _piece(self, start: int, x: FloatArray, t: int, later: View | None = None) -> Piece:
        view = self._problem.look(x[:, : t + 1])
        return Piece(slice(start, start + len(x)), view, self._problem, x[:, : t + 2], later)
