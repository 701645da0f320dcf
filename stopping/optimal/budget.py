"""S2: the dual bound that a budget affords.

The bounds of `stopping.optimal.dual` differ in how many continuations of each history they draw:
few make many paths affordable, many make each path's draw less loose. Where the policy has a
control, its martingale alone is one more, and that of `stopping.optimal.pathwise` another, on which
a tenth of the budget is spent where that is enough. All of them hold, so the choice may look at
draws. A tenth of the budget goes to pilots, the same to every candidate; the rest goes, on streams
of its own, to the one whose pilot's mean less its standard error was highest: a candidate whose few
draws were lucky is not taken for a tight one.

The budget counts steps of the problem that are drawn: a path with `inner` continuations of each
history takes `T (1 + inner)`. It is the same on every machine, as the choice is.
"""

import math
from dataclasses import dataclass

from stopping.errors import UserError
from stopping.optimal.dual import Dual
from stopping.optimal.pathwise import optimised
from stopping.optimal.regression import Policy
from stopping.simulation.montecarlo import Estimate, estimate, stream
from stopping.support.parallel import Workers

INNER = (0, 8, 32, 128)
PILOTS = 0.1
"""Share of the budget, that is divided among the candidates."""
TRAINING = 0.1
"""Share of the budget on which a martingale is optimised pathwise."""
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
    pathwise : bool
        Whether the martingale was optimised pathwise.
    """

    inner: int
    mean: float
    stderr: float
    pathwise: bool = False


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
    pathwise : bool
        Whether the martingale was optimised pathwise.
    """

    estimate: Estimate
    inner: int
    budget: int
    pilots: tuple[Pilot, ...]
    pathwise: bool = False


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
    cheapest = 0 if policy.controlled else min(inner for inner in INNER if inner)
    least = FEWEST * horizon * (1 + cheapest) * (len(INNER) + 1) / PILOTS
    if budget < least:
        raise UserError(f"budget: needs {math.ceil(least):,} steps at least, got {budget:,}")
    share, training = PILOTS * budget / (len(INNER) + 1), int(TRAINING * budget / horizon)
    duals = [
        Dual(policy, inner, STARTS)
        for inner in INNER
        if (inner or policy.controlled) and share >= FEWEST * horizon * (1 + inner)
    ]
    spent = PILOTS * budget
    tuned = optimised(policy, stream(seed, "pathwise", 0), training) if policy.controlled else None
    if tuned is not None:
        duals.append(Dual(tuned, 0, STARTS))
        spent += TRAINING * budget

    def draws(dual: Dual, steps: float, name: str) -> Estimate:
        n = int(steps / (horizon * (1 + dual.inner)))
        return estimate(dual.draw, n, seed, name=name, level=level, block=BLOCK, workers=workers)

    pilots = []
    for dual in duals:
        pathwise = dual.policy is tuned
        found = draws(dual, share, f"pilot {'pathwise' if pathwise else dual.inner}")
        pilots.append(Pilot(dual.inner, found.mean, found.stderr, pathwise))
    best = max(range(len(duals)), key=lambda i: pilots[i].mean - pilots[i].stderr)
    final = draws(duals[best], budget - spent, "dual")
    chosen = pilots[best]
    return BudgetedBound(final, chosen.inner, budget, tuple(pilots), chosen.pathwise)
