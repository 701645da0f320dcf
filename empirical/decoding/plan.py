"""How many layers are projected at once: one by one, or as many as cost nothing on this device.

A product of `r` rows with the unembedding reads all its weights, whatever `r`. As long as reading
them takes longer than the arithmetic, more rows cost no more time, and a layer that is projected
before anybody knows whether its rows will want it costs nothing; beyond that each costs its FLOPs,
and only laziness helps. Where the one turns into the other depends on the device, its libraries
and the precision (on paper 184 rows on an H200 in bfloat16), so it can only be *measured*: a table
of the time of a product by its rows. With it, and the share of rows that have gone on so far, the
number of layers that is cheapest to read at once is known (`empirical.logits.roofline`).

The plan is no part of the result: which layers a row needs, what is chosen and what is recorded
are the rule's. But the rounding of the products depends on their shapes, so where two neighbouring
entropies differ by a rounding the choice may differ between plans, and a stopwatch finds another
plan on another day. So the plan is *fixed*, one layer after the other, and the same run gives the
same text, unless `"measured"` is asked for, which is faster where products of few rows are bound by
the memory.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from empirical.logits.roofline import cheapest_width
from empirical.model.unembedding import Unembedding
from stopping.errors import UserError

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_REPEATS = 3
# Beyond so many times the least time, rows cost in proportion.
_PROPORTIONAL = 8
# Weights of the sample that is measured: more than a cache of one core holds, and soon done.
_SAMPLE = {"cpu": 1 << 22, "cuda": 1 << 27}
# A product with fewer weights takes less time than it takes to call it.
_WORTH_MEASURING = 1 << 20
_PLENTY = 1 << 30


@dataclass(frozen=True)
class Plan:
    """Times of products by rows.

    Attributes
    ----------
    rows : ascending numbers of rows.
    seconds : time of a product with so many, in any unit.
    across : whether the faster orientation was `W x'` rather than `x W'`.
    """

    rows: tuple[int, ...]
    seconds: tuple[float, ...]
    across: tuple[bool, ...]

    @classmethod
    def free(cls, rows: int) -> "Plan":
        """A plan in which `rows` rows cost as much as one, and more their share.

        With `rows = 1` no row is projected before it is wanted.
        """
        return cls((rows, 64 * rows), (1.0, 64.0), (False, False))

    def time(self, rows: float) -> float:
        """Time of a product with `rows` rows, in proportion beyond the table."""
        if rows > self.rows[-1]:
            return self.seconds[-1] * rows / self.rows[-1]
        return float(np.interp(rows, self.rows, self.seconds))

    def width(self, rows: int, layers: int, rate: float, most: int = _PLENTY, sure: int = 1) -> int:
        """Layers that `rows` rows read at once, of `layers`; see `cheapest_width`."""
        return _width(self, rows, layers, round(rate, 1), most, sure)

    def turned(self, rows: int) -> bool:
        """Whether `W x'` is the orientation for a product with `rows` rows."""
        place = min(int(np.searchsorted(self.rows, rows)), len(self.rows) - 1)
        return self.across[place]


ONE_BY_ONE = Plan.free(1)
ALL_AT_ONCE = Plan.free(_PLENTY)

PLANS = ("fixed", "measured")
"""How a plan may be asked for by name."""

PlanName = Literal["fixed", "measured"]


def plan_named(name: object, head: Unembedding | None) -> Plan:
    """Return the plan of that name for a head; without a head there is nothing to measure.

    Raises
    ------
    UserError
        If there is no plan of that name.
    """
    if name not in PLANS:
        raise UserError(f"plan={name}: choose from {', '.join(PLANS)}")
    return plan_for(head) if name == "measured" and head is not None else ONE_BY_ONE


def plan_for(head: Unembedding) -> Plan:
    """Measure the products of a head's shape and precision, once in a process."""
    weight = head.linear.weight
    if weight.numel() < _WORTH_MEASURING:
        return ALL_AT_ONCE
    sample = _SAMPLE.get(weight.device.type, _SAMPLE["cpu"])
    entries = min(head.entries, max(256, sample // head.hidden))
    return _measured(weight.device, weight.dtype, entries, head.hidden, torch.get_num_threads())


@lru_cache
def _width(plan: Plan, rows: int, layers: int, rate: float, most: int, sure: int) -> int:
    return cheapest_width(plan.time, rows, layers, most, rate, sure)


@lru_cache
@torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
def _measured(
    device: torch.device, dtype: torch.dtype, entries: int, hidden: int, threads: int
) -> Plan:
    linear = torch.nn.Linear(hidden, entries, bias=False, device=device, dtype=dtype)
    head = Unembedding(linear, linear, plain=True)
    rows: list[int] = []
    seconds: list[float] = []
    across: list[bool] = []
    for size in _SIZES:
        x = torch.zeros(size, hidden, device=device, dtype=dtype)
        times = [_time(head, x, turned) for turned in (False, True)]
        rows.append(size)
        # More rows never take less time; where they seem to, it was noise.
        seconds.append(max([min(times), *seconds[-1:]]))
        across.append(times[1] < times[0])
        if seconds[-1] > _PROPORTIONAL * seconds[0]:
            break
    return Plan(tuple(rows), tuple(seconds), tuple(across))


def _time(head: Unembedding, x: Tensor, across: bool) -> float:
    """Least time of a few products; on a CPU its own time, which others do not lengthen."""
    clock = time.perf_counter if x.is_cuda else time.process_time
    wait: Callable[[], object] = torch.cuda.synchronize if x.is_cuda else lambda: None
    least = np.inf
    for _ in range(1 + _REPEATS):
        wait()
        began = clock()
        head.product(x, across)
        wait()
        least = min(least, clock() - began)
    return float(least)
