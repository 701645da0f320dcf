"""What each way of reading the candidates adds to a step.

All read the same layers exactly; they differ in when. With `t(r)` the time of a product of `r`
rows, the model's own product of `B` rows being there in any case:

- *released code*: all `K` candidates in one product, then 22 passes over their logits in some 99
  kernels outside of any graph;
- *layer by layer*: one product for each candidate, for the rows that still want one;
- *all at once*: all `K` in the model's own product, entropies in one pass over stored logits;
- *fused, stored*: the same with entropies in the product's epilogue, logits stored for the chosen;
- *fused, sampled*: the token is drawn in the epilogue as well, so no logits are stored (greedy and
  temperature only);
- *two products*: `L - 1` in the model's own product, all others in one more for the rows that go
  on;
- *piggybacked*: what the decoder of this package does: at each turn as many as is cheapest (see
  `empirical.logits.roofline`), with entropies in the epilogue.

Rows go on independently with probability `q` each; expectations are over their number, exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import binom

from empirical.logits.roofline import cheapest_width
from empirical.studies.cost.devices import Device
from empirical.studies.cost.shapes import Shape
from empirical.studies.cost.step import Load, logits_seconds, plain_step, product_seconds

_PASSES, _KERNELS = 22, 99
# Launches of a further turn: product, choice, and the numbering of the rows that go on.
_TURN = 3
# Numbers of rows less likely than this are left out of a mean.
_NEVER = 1e-9


@dataclass(frozen=True)
class Overhead:
    """What one design adds.

    `seconds` and `share` (of the plain step) are means over steps; `held` are bytes of logits
    beyond the model's own.
    """

    design: str
    seconds: float
    share: float
    held: float


@dataclass(frozen=True)
class _Setting:
    shape: Shape
    device: Device
    load: Load

    def product(self, rows: float) -> float:
        return product_seconds(self.shape, self.device, self.load, rows)

    def turn(self, rows: float) -> float:
        """A product in a turn of its own."""
        return self.product(rows) + self.logits(rows) + self.kernels(_TURN)

    def logits(self, rows: float) -> float:
        return logits_seconds(self.shape, self.device, self.load, rows)

    def kernels(self, count: int) -> float:
        return count * self.device.kernel_seconds

    @property
    def own(self) -> float:
        return self.product(self.load.batch)

    @property
    def candidates(self) -> int:
        return self.load.batch * self.load.window

    @property
    def all_rows(self) -> int:
        return self.load.batch + self.candidates


def _released(at: _Setting) -> float:
    passes = _PASSES * at.logits(at.all_rows)
    return at.product(at.all_rows) - at.own + passes + at.kernels(_KERNELS)


def _layer_by_layer(at: _Setting) -> float:
    return _reader(at, lambda rows, left: 1, 4)(at.load.batch, at.load.window)


def _all_at_once(at: _Setting) -> float:
    stored = 2 * at.logits(at.candidates)
    return at.product(at.all_rows) - at.own + stored + at.kernels(6)


def _fused_stored(at: _Setting) -> float:
    # The candidates' are written, and the chosen ones read and written once more.
    stored = at.logits(at.candidates + 2 * at.load.batch)
    return at.product(at.all_rows) - at.own + stored + at.kernels(3)


def _fused_sampled(at: _Setting) -> float:
    return at.product(at.all_rows) - at.own + at.kernels(2)


def _two_products(at: _Setting) -> float:
    return _started(at, 1, lambda rows, left: left)


def _piggybacked(at: _Setting) -> float:
    def width(rows: int, left: int, sure: int = 1) -> int:
        time, rate = at.turn, at.load.rate
        return cheapest_width(time, rows, left, at.all_rows, rate, sure)

    return _started(at, width(at.load.batch, 1 + at.load.window, sure=2) - 1, width)


def _started(at: _Setting, first: int, width: Callable[[int, int], int]) -> float:
    """Cost with `first` candidates in the model's own product, and rounds for the rest."""
    batch, window = at.load.batch, at.load.window
    first = min(first, window)
    cost = at.product((1 + first) * batch) - at.own + at.logits(first * batch)
    cost += at.kernels(2) if first else 0.0
    if first == window:
        return cost
    # A row wants candidate `first + 1` if it went on after each of the first.
    return cost + _mean(_reader(at, width, _TURN), batch, at.load.rate**first, window - first)


def _reader(
    at: _Setting, width: Callable[[int, int], int], kernels: int
) -> Callable[[int, int], float]:
    """Mean cost of reading on for `rows` rows that want the next of `left` candidates."""

    @cache
    def cost(rows: int, left: int) -> float:
        if rows == 0 or left == 0:
            return 0.0
        w = width(rows, left)
        now = at.product(w * rows) + at.logits(w * rows) + at.kernels(kernels)
        return now if w == left else now + _mean(cost, rows, at.load.rate**w, left - w)

    return cost


def _mean(cost: Callable[[int, int], float], rows: int, chance: float, left: int) -> float:
    """Mean cost where each of `rows` rows goes on with probability `chance`."""
    every = binom.pmf(np.arange(rows + 1), rows, chance)
    likely = np.flatnonzero(every > _NEVER)
    return float(every[likely] @ np.array([cost(m, left) for m in likely.tolist()]))


def _none(at: _Setting) -> float:
    return 0.0


def _released_held(at: _Setting) -> float:
    # Probabilities and their products, each for all candidates and the final layer.
    return 2.0 * at.all_rows


def _round_held(at: _Setting) -> float:
    return float(max(at.load.batch, min(at.candidates, at.device.free_rows)))


DESIGNS: dict[str, tuple[Callable[[_Setting], float], Callable[[_Setting], float]]] = {
    "released code": (_released, _released_held),
    "layer by layer": (_layer_by_layer, lambda at: float(at.load.batch)),
    "all at once": (_all_at_once, lambda at: float(at.candidates)),
    "fused, stored": (_fused_stored, lambda at: float(at.candidates)),
    "fused, sampled": (_fused_sampled, _none),
    "two products": (_two_products, lambda at: float((at.load.window - 1) * at.load.batch)),
    "piggybacked": (_piggybacked, _round_held),
}
"""For each design the seconds that it adds, and the rows of logits that it may hold."""


def overheads(shape: Shape, device: Device, load: Load) -> tuple[Overhead, ...]:
    """Predict what each design adds to a step, in the order of `DESIGNS`."""
    at, plain = _Setting(shape, device, load), plain_step(shape, device, load).total
    row = shape.vocabulary * load.width
    found = []
    for name, (seconds, held) in DESIGNS.items():
        nothing = load.window == 0
        added = 0.0 if nothing else seconds(at)
        found.append(Overhead(name, added, added / plain, 0.0 if nothing else held(at) * row))
    return tuple(found)
