"""The scans, as nested rows of flags over the values of many tokens at once.

Row `j` of the values holds `x[L-j]` of every token. A scan fills row `j` of the flags with "goes
back `j` layers or more", j = 1, 2, ..., until no token does, and returns how many do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stopping.simulation.engine.plans import Below, Fall, Forgive, Guard, Least, Scan, Stay
from stopping.types import BoolArray

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Depths:
    """How far back the tokens of one piece go.

    Attributes
    ----------
    at_least : tuple of int
        Number of tokens that go back `j` layers or more, `j = 0, 1, ...` up to the last with any.
    flags : sequence of ndarray of bool, shape (c,)
        Row `j >= 1`: which ones; row 0 is not used. Valid until the next scan.
    projections : int, optional
        Layers read beyond the final one, over all tokens, where the depth does not tell.
    """

    at_least: tuple[int, ...]
    flags: Sequence[BoolArray]
    projections: int | None = None

    def of_each(self, out: NDArray[np.uint8]) -> None:
        """Write the depth of each token."""
        out[:] = 0
        for row in self.flags[1 : len(self.at_least)]:
            np.add(out, row.view(np.uint8), out=out)


class Scanner:
    """Buffers for the scans of pieces of up to `columns` tokens with `rows` values each."""

    def __init__(self, rows: int, columns: int) -> None:
        self._flags = np.empty((rows, columns), dtype=bool)
        self._records = np.empty((rows, columns), dtype=bool)
        self._first = np.empty(columns, dtype=np.float32)
        self._second = np.empty(columns, dtype=np.float32)
        self._going = np.empty((2, columns), dtype=bool)

    def begin(self, x: Rows, origin: float) -> None:
        """Take the values of a new piece, minus `origin`; row `j` is layer `L - j`."""
        self.columns, self.origin, self.known = x.shape[1], origin, 0
        # Lists of rows: cutting rows out of an array one by one takes as long as working on them.
        c = self.columns
        self.x, self.flags, self.records = (
            list(x),
            list(self._flags[:, :c]),
            list(self._records[:, :c]),
        )

    def depths(self, scan: Scan) -> Depths:
        """Run one scan on the piece."""
        match scan:
            case Stay():
                return self._found([self.columns])
            case Fall(steps, tau):
                return self._fall(steps, np.float32(tau))
            case Guard(steps, guard):
                return self._guard(steps, np.float32(2.0 * guard))
            case Forgive(steps, m):
                return self._forgive(steps, m)
            case Least(steps):
                self._record(steps)
                return self._deepest(steps, self.records)
            case Below(steps, threshold):
                return self._below(steps, np.float32(threshold - self.origin))

    def _fall(self, steps: int, tau: np.float32) -> Depths:
        x, flags, reference = self.x, self.flags, self._first[: self.columns]
        found = [self.columns]
        for j in range(1, steps + 1):
            above = np.subtract(x[j - 1], tau, reference) if tau else x[j - 1]
            np.less(x[j], above, flags[j])
            if not self._narrow(j, found):
                break
        return self._found(found)

    def _guard(self, steps: int, fall: np.float32) -> Depths:
        x, flags, reference = self.x, self.flags, self._first[: self.columns]
        reference[:] = x[0]
        found = [self.columns]
        for j in range(1, steps + 1):
            np.less(x[j], reference, flags[j])
            if not self._narrow(j, found):
                break
            np.subtract(reference, fall, reference)
            np.minimum(reference, x[j], out=reference)
        return self._found(found)

    def _forgive(self, steps: int, m: int) -> Depths:
        """Scan on while one of the last `m + 1` layers was a record; records on the way count."""
        self._record(steps)
        flags, records = self.flags, self.records
        going, recent = self._going[:, : self.columns]
        going[:] = True
        projections, last = 0, 0
        for j in range(1, steps + 1):
            scanning = self.columns if j <= m + 1 else int(np.count_nonzero(going))
            if not scanning:
                break
            projections, last = projections + scanning, j
            np.logical_and(records[j], going, flags[j])
            if j > m:
                either = records[j]
                for earlier in range(j - m, j):
                    either = np.logical_or(either, records[earlier], recent)
                np.logical_and(going, either, going)
        return self._deepest(last, flags, projections)

    def _below(self, steps: int, threshold: np.float32) -> Depths:
        for j in range(1, steps + 1):
            np.less_equal(self.x[j], threshold, self.flags[j])
        return self._deepest(steps, self.flags)

    def _record(self, steps: int) -> None:
        """Know in which of the first `steps` rows below the final layer a new minimum is set."""
        x, least = self.x, self._second[: self.columns]
        if not self.known:
            least[:] = x[0]
        for j in range(self.known + 1, steps + 1):
            np.less(x[j], least, self.records[j])
            np.minimum(x[j], least, out=least)
        self.known = max(self.known, steps)

    def _narrow(self, j: int, found: list[int]) -> bool:
        """Keep in row `j` those that came as far as row `j - 1`; note and say whether any did."""
        if j > 1:
            np.logical_and(self.flags[j], self.flags[j - 1], self.flags[j])
        left = int(np.count_nonzero(self.flags[j]))
        if left:
            found.append(left)
        return left > 0

    def _deepest(
        self, steps: int, events: Sequence[BoolArray], projections: int | None = None
    ) -> Depths:
        """Turn events by row into flags: an event in row `j` or further back."""
        flags, found = self.flags, []
        for j in range(steps, 0, -1):
            if j < steps:
                np.logical_or(events[j], flags[j + 1], flags[j])
            elif events is not flags:
                flags[j][:] = events[j]
            found.append(int(np.count_nonzero(flags[j])))
        at_least = [self.columns, *reversed(found)]
        while not at_least[-1]:
            at_least.pop()
        return self._found(at_least, projections)

    def _found(self, at_least: Sequence[int], projections: int | None = None) -> Depths:
        return Depths(tuple(at_least), self.flags, projections)
