"""Blocks of tokens: drawn by turning point, scanned by every rule, tallied, merged in order."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from stopping.errors import UserError
from stopping.model.process import Process
from stopping.rules import AbstractRule
from stopping.simulation.engine.model import Model, Sampler
from stopping.simulation.engine.plans import Plan, Scan, plan
from stopping.simulation.engine.results import Simulation, Tally, summarise
from stopping.simulation.engine.scans import Depths, Rows, Scanner
from stopping.support.parallel import Workers, in_order
from stopping.types import IntArray

BLOCK = 1 << 18
"""Tokens with one stream: the unit of parallel work."""
VALUES = 5 << 17
"""Values in the cache at once; a piece has as many tokens as that allows."""
LEAST, MOST = 1 << 12, 1 << 15
"""Tokens of a piece: numpy's calls cost too much below, the cache is too small above."""


def simulate(
    process: Process,
    rules: Sequence[AbstractRule],
    n: int,
    seed: int,
    *,
    bins: int = 256,
    high: float | None = None,
    workers: Workers | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> Simulation:
    """Simulate `n` tokens and let every rule choose on each of them.

    Parameters
    ----------
    process : Process
        Constant drifts, uniform or Gaussian noise.
    rules : sequence of AbstractRule
        Rules of `zoo`, with any settings; none that is randomised.
    n : int
        Number of tokens.
    seed : int
        With the number of a block it gives the block's stream.
    bins : int
        Bins of the histogram of the excess.
    high : float, optional
        Where they end, nats; what lies above is counted in a bin of its own. Default: the largest
        excess in the stack, random parts of the rises apart.
    workers : Workers, optional
        Default: this process. The result does not depend on it.
    advance : callable
        Called with the number of blocks done since the last call.

    Raises
    ------
    UserError
        If the engine does not cover the process or a rule, or a number is out of range.
    """
    if n < 2:
        raise UserError(f"n: need at least two tokens, got {n}")
    if seed < 0:
        raise UserError(f"seed: must be >= 0, got {seed}")
    if not rules:
        raise UserError("rules: need at least one")
    model = Model.of(process)
    plans = tuple(plan(rule, process.layers) for rule in rules)
    if high is None:
        high = float(model.excess().max()) or 1.0
    if bins < 1 or not (np.isfinite(high) and high > 0):
        raise UserError(f"histogram: need bins >= 1 and finite high > 0, got {bins} and {high}")
    work = (
        partial(block_tally, model, plans, seed, index, min(BLOCK, n - index * BLOCK), bins, high)
        for index in range(count_blocks(n))
    )
    total = Tally.empty(len(plans), len(model.turning), model.layers, bins)
    for tally in in_order(work, workers):
        total += tally
        advance(1)
    return summarise(total, model, rules, seed, high)


def count_blocks(n: int) -> int:
    """Units of work in `simulate`, for a progress bar."""
    return -(-n // BLOCK)


def block_tally(
    model: Model,
    plans: Sequence[Plan],
    seed: int,
    index: int,
    size: int,
    bins: int,
    high: float,
) -> Tally:
    """Draw and tally one block."""
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(index,))))
    values = 1 + max(each.scan.steps for each in plans)
    rows = max(values, model.layers - min(int(each.layers.min()) for each in plans))
    columns = min(max(VALUES // rows, LEAST), MOST, size)
    sampler, scanner = Sampler(model, values, rows, columns), Scanner(values, columns)
    notes = Notes(sampler.excess, bins, high)
    tally = Tally.empty(len(plans), len(model.turning), model.layers, bins)
    shared = sharing(plans)
    # By rule, turning point and depth: all tokens, and those whose excess is not noted.
    tokens, fixed = (
        [np.zeros((len(model.turning), p.scan.steps + 1), dtype=np.int64) for p in plans]
        for _ in range(2)
    )
    rows_of = [model.layers - 1 - each.layers for each in plans]
    for which, n in enumerate(rng.multinomial(size, model.weight)):
        random = model.layers - int(sampler.random_from[which])
        for c in pieces(int(n), columns):
            scanner.begin(sampler.draw(rng, which, c), model.origin)
            for scan, users in shared.items():
                depths = scanner.depths(scan)
                exactly = np.zeros(scan.steps + 1, dtype=np.int64)
                exactly[: len(depths.at_least)] = depths.at_least
                exactly[:-1] -= exactly[1:]
                notes.begin(depths, c)
                for rule in users:
                    tokens[rule][which] += exactly
                    tally.projections[rule] += depths.projections or 0
                    if random and exactly[rows_of[rule] < random].any():
                        notes.add(tally, rule, rows_of[rule])
                    else:
                        fixed[rule][which] += exactly
    for rule, each in enumerate(plans):
        tally.count(rule, each, tokens[rule], fixed[rule])
    return tally


def sharing(plans: Sequence[Plan]) -> dict[Scan, list[int]]:
    """Which rules read their depths off which scan."""
    users: dict[Scan, list[int]] = {}
    for rule, each in enumerate(plans):
        users.setdefault(each.scan, []).append(rule)
    return users


def pieces(tokens: int, columns: int) -> Iterator[int]:
    """Split `tokens` into as few parts of at most `columns` as there can be, of even sizes."""
    count = -(-tokens // columns)
    for i in range(count):
        yield tokens * (i + 1) // count - tokens * i // count


class Notes:
    """Looks up the random excess of each token and adds it to a tally."""

    def __init__(self, excess: Rows, bins: int, high: float) -> None:
        self._rows, self._columns = excess, excess.shape[1]
        self._flat = excess.reshape(-1)
        self._bins, self._scale = np.float32(bins), np.float32(bins / high)
        self._column = np.arange(self._columns)
        self._place = np.empty(self._columns, dtype=np.intp)
        self._depth = np.empty(self._columns, dtype=np.uint8)
        self._values = np.empty(self._columns, dtype=np.float32)
        self._ones = np.ones(self._columns, dtype=np.float32)

    def begin(self, depths: Depths, c: int) -> None:
        """Take the depths that one scan found for `c` tokens."""
        self._depths, self._c, self._known = depths, c, False

    def add(self, tally: Tally, rule: int, rows: IntArray) -> None:
        """Add the values of one rule, which reads row `rows[depth]` of the excesses."""
        c = self._c
        place, values = self._place[:c], self._values[:c]
        if len(rows) == 1:
            values = self._rows[rows[0], :c]
        else:
            depth = self._depth[:c]
            if not self._known:
                self._depths.of_each(depth)
                self._known = True
            np.take(rows * self._columns, depth, out=place, mode="clip")
            np.add(place, self._column[:c], out=place)
            np.take(self._flat, place, out=values, mode="clip")
        tally.sums[rule] += np.dot(values, self._ones[:c])
        tally.squares[rule] += np.dot(values, values)
        tally.greatest[rule] = max(tally.greatest[rule], float(values.max()))
        bins = np.multiply(values, self._scale, out=self._values[:c])
        np.minimum(bins, self._bins, out=bins)
        place[:] = bins
        tally.histogram[rule] += np.bincount(place, minlength=tally.histogram.shape[1])
