"""S2: the dual bound that a budget affords.

The bounds of `stopping.optimal.dual` differ in how many continuations of each history they draw:
few make many paths affordable, many make each path's draw less loose. All of them hold, so the
choice may look at draws. A tenth of the budget goes to pilots, the same to every candidate; the
rest goes, on streams of its own, to the one whose pilot's mean less its standard error was highest:
a candidate whose few draws were lucky is not taken for a tight one.

The budget counts steps of the problem that are drawn: a path with `inner` continuations of each
history takes `T (1 + inner)`. It is the same on every machine, as the choice is.
"""

import math
from dataclasses import dataclass

from stopping.errors import UserError
from stopping.optimal.dual import Dual
from stopping.optimal.regression import Policy
from stopping.simulation.montecarlo import Estimate, estimate
from stopping.support.parallel import Workers

INNER = (0, 8, 32, 128)
PILOTS = 0.1
"""Share of the budget, that is divided among the candidates."""
FEWEST = 16
"""Paths of a pilot: a standard deviation of fewer says little."""
STARTS = 16
"""First observations for each draw; see `Dual`."""
BLOCK = 1 << 10
"""Paths at a time, each with its continuations in memory."""


@dataclass(frozen=True)
class Pilot:
    """What a candidate promised.

    Attributes
    ----------
    inner : int
        Continuations of each history.
    mean, stderr : float
        Of its draws.
    """

    inner: int
    mean: float
    stderr: float


@dataclass(frozen=True)
class BudgetedBound:
    """The dual bound of the candidate chosen.

    Attributes
    ----------
    estimate : Estimate
        Its mean bounds the value (a loss) from below.
    inner : int
        Continuations of each history; 0: the martingale of the regression alone.
    budget : int
    pilots : tuple of Pilot
        All candidates that the budget could afford.
    """

    estimate: Estimate
    inner: int
    budget: int
    pilots: tuple[Pilot, ...]


def dual_bound(
    policy: Policy,
    budget: int,
    seed: int,
    *,
    level: float = 0.95,
    workers: Workers | None = None,
) -> BudgetedBound:
    """Bound the value from below with `budget` steps of the problem.

    Raises
    ------
    UserError
        If the budget does not reach for the pilot of the cheapest candidate.
    """
    horizon = max(policy.problem.horizon, 1)
    candidates = [inner for inner in INNER if inner or policy.controlled]
    share = PILOTS * budget / len(candidates)
    affordable = [inner for inner in candidates if share >= FEWEST * horizon * (1 + inner)]
    if not affordable:
        needed = math.ceil(FEWEST * horizon * (1 + candidates[0]) * len(candidates) / PILOTS)
        raise UserError(f"budget: needs {needed:,} steps at least, got {budget:,}")
    rest = (1 - PILOTS) * budget
    pilots = []
    for inner in affordable:
        draw, n = Dual(policy, inner, STARTS).draw, int(share / (horizon * (1 + inner)))
        found = estimate(draw, n, seed, name=f"pilot {inner}", block=BLOCK, workers=workers)
        pilots.append(Pilot(inner, found.mean, found.stderr))
    best = max(pilots, key=lambda pilot: pilot.mean - pilot.stderr)
    draw, n = Dual(policy, best.inner, STARTS).draw, int(rest / (horizon * (1 + best.inner)))
    final = estimate(draw, n, seed, name="dual", level=level, block=BLOCK, workers=workers)
    return BudgetedBound(final, best.inner, budget, tuple(pilots))
