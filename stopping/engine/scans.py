"""The scans, as nested rows of flags over the readings of many tokens at once.

Row `j` of the readings holds `x[L-j]` of every token. A scan fills row `j` of the flags with "goes
back `j` layers or more", j = 1, 2, ..., until no token does, and returns how many do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stopping.engine.plans import Below, Fall, Forgive, Guard, Least, Scan, Stay
from stopping.types import BoolArray

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Depths:
    """How far back the tokens of one piece go.

    Attributes
    ----------
    at_least : tuple of int
        Number of tokens that go back `j` layers or more, `j = 0, 1, ...` up to the last with any.
    flags : ndarray of bool, shape (>= len(at_least), c)
        Row `j >= 1`: which ones; row 0 is not used. Valid until the next scan.
    probes : int, optional
        Layers read beyond the final one, over all tokens, where the depth does not tell.
    """

    at_least: tuple[int, ...]
    flags: BoolArray
    probes: int | None = None

    def of_each(self, out: NDArray[np.uint8]) -> None:
        """Write the depth of each token."""
        out[:] = 0
        for row in self.flags[1 : len(self.at_least)]:
            np.add(out, row.view(np.uint8), out=out)


class Scanner:
    """Buffers for the scans of pieces of up to `columns` tokens with `rows` readings each."""

    def __init__(self, rows: int, columns: int) -> None:
        self._flags = np.empty((rows, columns), dtype=bool)
        self._records = np.empty((rows, columns), dtype=bool)
        self._first = np.empty(columns, dtype=np.float32)
        self._second = np.empty(columns, dtype=np.float32)
        self._going = np.empty((2, columns), dtype=bool)

    def begin(self, x: Rows, origin: float) -> None:
        """Take the readings of a new piece, less `origin`; row `j` is layer `L - j`."""
        self.x, self.origin, self.columns, self.known = x, origin, x.shape[1], 0

    def depths(self, scan: Scan) -> Depths:
        """Run one scan on the piece."""
        match scan:
            case Stay():
                return Depths((self.columns,), self._flags)
            case Fall(steps, tau):
                return self._fall(steps, np.float32(tau))
            case Guard(steps, guard):
                return self._guard(steps, np.float32(2.0 * guard))
            case Forgive(steps, m):
                return self._forgive(steps, m)
            case Least(steps):
                self._record(steps)
                return self._deepest(steps, self._records)
            case Below(steps, threshold):
                return self._below(steps, np.float32(threshold - self.origin))

    def _fall(self, steps: int, tau: np.float32) -> Depths:
        c, x, flags, reference = self.columns, self.x, self._flags, self._first[: self.columns]
        found = [c]
        for j in range(1, steps + 1):
            here = flags[j, :c]
            if tau:
                np.subtract(x[j - 1], tau, out=reference)
                np.less(x[j], reference, out=here)
            else:
                np.less(x[j], x[j - 1], out=here)
            if not _narrow(flags, j, c, found):
                break
        return Depths(tuple(found), flags[:, :c])

    def _guard(self, steps: int, fall: np.float32) -> Depths:
        c, x, flags, reference = self.columns, self.x, self._flags, self._first[: self.columns]
        reference[:] = x[0]
        found = [c]
        for j in range(1, steps + 1):
            np.less(x[j], reference, out=flags[j, :c])
            if not _narrow(flags, j, c, found):
                break
            np.subtract(reference, fall, out=reference)
            np.minimum(reference, x[j], out=reference)
        return Depths(tuple(found), flags[:, :c])

    def _forgive(self, steps: int, m: int) -> Depths:
        """Scan on while one of the last `m + 1` layers was a record; records on the way count."""
        c, flags, records = self.columns, self._flags, self._records
        self._record(steps)
        going, recent = self._going[0, :c], self._going[1, :c]
        going[:] = True
        probes, last = 0, 0
        for j in range(1, steps + 1):
            scanning = c if j <= m + 1 else int(np.count_nonzero(going))
            if not scanning:
                break
            probes, last = probes + scanning, j
            np.logical_and(records[j, :c], going, out=flags[j, :c])
            if j > m:
                recent[:] = records[j, :c]
                for earlier in range(j - m, j):
                    np.logical_or(recent, records[earlier, :c], out=recent)
                np.logical_and(going, recent, out=going)
        return self._deepest(last, flags, probes)

    def _below(self, steps: int, threshold: np.float32) -> Depths:
        c, x, flags = self.columns, self.x, self._flags
        for j in range(1, steps + 1):
            np.less_equal(x[j], threshold, out=flags[j, :c])
        return self._deepest(steps, flags)

    def _record(self, steps: int) -> None:
        """Know in which of the first `steps` rows below the last layer a new minimum is set."""
        c, x, least = self.columns, self.x, self._second[: self.columns]
        if not self.known:
            least[:] = x[0]
        for j in range(self.known + 1, steps + 1):
            np.less(x[j], least, out=self._records[j, :c])
            np.minimum(x[j], least, out=least)
        self.known = max(self.known, steps)

    def _deepest(self, steps: int, events: BoolArray, probes: int | None = None) -> Depths:
        """Turn events by row into flags: an event in row `j` or further back."""
        c, flags, found = self.columns, self._flags, []
        for j in range(steps, 0, -1):
            if j < steps:
                np.logical_or(events[j, :c], flags[j + 1, :c], out=flags[j, :c])
            elif events is not flags:
                flags[j, :c] = events[j, :c]
            found.append(int(np.count_nonzero(flags[j, :c])))
        at_least = [c, *reversed(found)]
        while not at_least[-1]:
            at_least.pop()
        return Depths(tuple(at_least), flags[:, :c], probes)


def _narrow(flags: BoolArray, j: int, c: int, found: list[int]) -> bool:
    """Keep in row `j` those that came as far as row `j - 1`; note and say whether any did."""
    here = flags[j, :c]
    if j > 1:
        np.logical_and(here, flags[j - 1, :c], out=here)
    left = int(np.count_nonzero(here))
    if left:
        found.append(left)
    return left > 0
