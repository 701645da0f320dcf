"""Which bound survives when an assumption fails, and by how much the others do not.

Each scenario breaks one assumption in a known world and asks the bounds T1, T2, T4, T10 and T11 by
simulation, with the level at which they would be quoted. Some survivals are theorems:

- T1, T2 and T4 compare values path by path, so they hold for noise with any dependence, and for
  any law within `eps_max`. They use differences of noise only: what counts is its range. A step of
  `c > 0` turns `2 eps_max` into `2 eps_max + c` (the row *T2 range*).
- T4 needs A2 alone: it survives a broken A3 and a turning point outside the window. So does T2 if
  the one rise that fails is the first beyond `V*`: stopping there costs at most `2 eps_max` too.
- T10 and T11 read A3 nowhere. T10's first part needs A4: below the window `V^ > V*` surely. The
  others speak of `V^ <= V*`, an event that is then empty.
- T10 holds for unequal layers with the largest `sigma`; for jointly normal layers with correlation
  `>= 0`, whose differences have variance at most `2 sigma^2`. Its mean bound `sigma sqrt(pi)` holds
  for jointly normal layers however correlated, since `P(excess > t) <= P(N(0, 4 sigma^2) > t)`
  integrates to `sigma sqrt(2 / pi)`; and for i.i.d. noise of any law with standard deviation
  `sigma`, where the expected excess is at most `E (eps - eps')+ <= sigma / sqrt(3)` (T13).
- T11 needs exchangeable noise without ties, so it survives any i.i.d. law. Its first step (one
  half) needs only that neighbours' difference is as often positive as negative, so it survives
  AR(1) noise and unequal symmetric layers. Its second survives AR(1) noise exactly for
  `rho <= 0`: the probability of a run of three is `1/4 - arcsin((1 - rho) / 2) / (2 pi)`. What
  holds in its place for `rho >= 0` is the law of halves (T14, `stopping.theory.dependent`).
- A step down below or at `V*` leaves a `G` that is non-increasing there: nothing fails.

Rows with basis `theorem` are these; a survival with basis `simulation` is a finding about this
world only. Any failure is a finding that needs no more than the one world.
"""

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from stopping.errors import UserError
from stopping.model.scenarios import Bound, Scenario, scenarios
from stopping.rules import Search
from stopping.simulation.grid import measure
from stopping.simulation.measures import MEASURES, Stops
from stopping.simulation.montecarlo import (
    Estimate,
    Moments,
    Relation,
    Verdict,
    blocks,
    judge,
    stream,
    summarise,
)
from stopping.support.parallel import Workers
from stopping.support.store import Journal


class Outcome(enum.StrEnum):
    """What became of a bound."""

    SURVIVES = "survives"
    FAILS = "fails"
    UNDECIDED = "undecided"


class Basis(enum.StrEnum):
    """Why."""

    THEOREM = "theorem"
    SIMULATION = "simulation"


@dataclass(frozen=True)
class Row:
    """One bound in one world.

    Attributes
    ----------
    broken, parameter, shape : str
        The scenario.
    bound : str
        Label of the theorem.
    quantity : str
        What is estimated.
    limit : float
        The bound's value for it; 0 for the probability of breaking a bound that holds surely.
    estimate, stderr : float
        Monte Carlo mean and its standard error.
    greatest : float
        The largest draw, in nats for a bound on the excess: how far a sure bound was overshot.
    outcome : Outcome
    basis : Basis
        `THEOREM` if the survival is proved.
    n, seed : int
        Sample size and seed.
    """

    broken: str
    parameter: str
    shape: str
    bound: Bound
    quantity: str
    limit: float
    estimate: float
    stderr: float
    greatest: float
    outcome: Outcome
    basis: Basis
    n: int
    seed: int


@dataclass(frozen=True)
class Drawn:
    """What was drawn in one world, for each bound that is asked there.

    Attributes
    ----------
    moments : tuple of Moments
        Of the values that the bound's mean is about.
    greatest : tuple of float
        The largest draw, see `Row`.
    """

    moments: tuple[Moments, ...]
    greatest: tuple[float, ...]


def robustness_table(
    seed: int,
    n: int = 1 << 18,
    asked: Sequence[Scenario] | None = None,
    alpha: float = 1e-3,
    *,
    workers: Workers | None = None,
    journal: Journal | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[Row, ...]:
    """Ask every scenario's bounds.

    Parameters
    ----------
    seed : int
        Each scenario has its own stream, keyed by its name and this.
    n : int
        Tokens per scenario.
    asked : sequence of Scenario, optional
        Default: `scenarios()`.
    alpha : float
        Probability that any row of the table comes out wrong by chance: the rows' confidence
        intervals share it equally (Bonferroni).
    workers, journal, advance
        As those of `stopping.simulation.grid.measure`; a journal is opened with `settings` of the
        same seed and `n`. The rows do not depend on them.
    """
    if n < 2:
        raise UserError(f"n: need at least two tokens per scenario, got {n}")
    chosen = scenarios() if asked is None else tuple(asked)
    level = 1.0 - alpha / sum(len(scenario.asks) for scenario in chosen)
    found = measure(
        chosen, partial(draw, seed=seed, n=n), Drawn,
        workers=workers, journal=journal, advance=advance,
    )  # fmt: skip
    return tuple(
        _row(scenario, bound, summarise(moments, level, seed), greatest)
        for scenario, drawn in zip(chosen, found, strict=True)
        for bound, moments, greatest in zip(
            scenario.asks, drawn.moments, drawn.greatest, strict=True
        )
    )


def settings(seed: int, n: int) -> dict[str, object]:
    """What all worlds of one journal have in common."""
    return {"sweep": "robustness", "seed": seed, "tokens": n}


def draw(scenario: Scenario, seed: int, n: int) -> Drawn:
    """Draw `n` tokens of one world, block by block."""
    measures = [MEASURES[bound] for bound in scenario.asks]
    totals = [Moments() for _ in measures]
    greatest = [-math.inf] * len(measures)
    for block, size in blocks(n, 1 << 15):
        paths = scenario.process.sample(stream(seed, str(scenario), block), size)
        stops = Stops(paths, Search(scenario.process.K).choose(paths.x), scenario)
        for i, one in enumerate(measures):
            totals[i] += Moments.of(one.value(stops), one.limit(scenario), strict=False)
            sizes = one.value(stops) if one.size is None else one.size(stops)
            greatest[i] = max(greatest[i], float(sizes.max()))
    return Drawn(tuple(totals), tuple(greatest))


def _row(scenario: Scenario, bound: Bound, found: Estimate, greatest: float) -> Row:
    asked = MEASURES[bound]
    limit = asked.limit(scenario)
    relation = Relation.ALWAYS_AT_MOST if asked.sure else Relation.MEAN_AT_MOST
    verdict = judge(relation, limit, found)
    proved = bound in scenario.provable
    if verdict is Verdict.VIOLATED:
        outcome = Outcome.FAILS
    elif proved or (verdict is Verdict.HOLDS and not asked.sure):
        outcome = Outcome.SURVIVES
    else:
        # That no draw broke a sure bound does not make it sure.
        outcome = Outcome.UNDECIDED
    return Row(
        broken=scenario.broken,
        parameter=scenario.parameter,
        shape=scenario.shape,
        bound=bound,
        quantity=asked.quantity,
        limit=limit,
        estimate=found.mean,
        stderr=found.stderr,
        greatest=greatest,
        outcome=outcome,
        basis=Basis.THEOREM if proved else Basis.SIMULATION,
        n=found.n,
        seed=found.seed,
    )
