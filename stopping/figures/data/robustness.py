"""The robustness table with one cell per assumption and bound: the worst over what was asked.

The runs and the mean of T11 count as one bound here; shapes of `G` are gathered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stopping.model.scenarios import RUNS, SURE, Bound
from stopping.simulation.robustness import Basis, Outcome, Row

WORSE = (Outcome.SURVIVES, Outcome.UNDECIDED, Outcome.FAILS)


@dataclass(frozen=True)
class Survival:
    """What became of one bound under one broken assumption.

    Attributes
    ----------
    broken, parameter : str
        The assumption, and how far it fails.
    label : str
        The bound.
    sure : bool
        Whether it holds for every token where the assumptions do.
    outcome : Outcome
        The worst of what was asked.
    basis : Basis
        `THEOREM` if every survival is proved.
    size : float
        How far it fails at most: for a sure bound the share of tokens that break it, else
        estimate over bound.
    """

    broken: str
    parameter: str
    label: str
    sure: bool
    outcome: Outcome
    basis: Basis
    size: float


def survivals(rows: Sequence[Row]) -> tuple[Survival, ...]:
    """Gather the rows of each assumption and bound, in the order of the table."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.broken, row.parameter, label(row.bound)), []).append(row)
    return tuple(_worst(group) for group in groups.values())


def _worst(rows: list[Row]) -> Survival:
    first = rows[0]
    outcome = max((row.outcome for row in rows), key=WORSE.index)
    proved = all(row.basis is Basis.THEOREM for row in rows)
    return Survival(
        broken=first.broken,
        parameter=first.parameter,
        label=label(first.bound),
        sure=first.bound in SURE,
        outcome=outcome,
        basis=Basis.THEOREM if proved else Basis.SIMULATION,
        size=max(how_far(row) for row in rows),
    )


def label(bound: Bound) -> str:
    """Name of a bound, `T11` for all its parts."""
    return "T11" if bound in RUNS else str(bound)


def how_far(row: Row) -> float:
    """Share of tokens that break a sure bound, or estimate over limit."""
    return row.estimate if row.bound in SURE else row.estimate / row.limit
