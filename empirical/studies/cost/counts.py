"""Projections and multiply-adds per token: the paper's cost table, and an honest one beside it.

The paper counts multiply-adds and calls them FLOPs. Its lazy search makes "0.116 extra
projections"; but a search from `L` must know `H[L-1]` before it may stop at `L`, so it makes one at
least. 0.116 is the mean *depth*: `q + q^2 + ... ` with `q = 0.104`. The projections are `1 + q +
... + q^(K-1)`.
"""

from dataclasses import dataclass

from empirical.studies.cost.shapes import Shape
from empirical.studies.cost.step import Load


@dataclass(frozen=True)
class Count:
    """A row of the table: projections beyond the model's own, multiply-adds, share of a forward."""

    what: str
    projections: float
    multiply_adds: float
    share: float


def counts(shape: Shape, load: Load) -> tuple[Count, ...]:
    """Count what one token costs."""
    forward = shape.active + shape.head
    rows = {
        "one projection": 1.0,
        "every candidate": float(load.window),
        "the released code, whose window counts the final layer": max(load.window - 1.0, 0.0),
        "lazy, as the paper counts: the mean depth": load.depth,
        "lazy, as it must be: the next layer is read before the search stops": load.projections,
    }
    return tuple(
        Count(what, n, n * shape.head, n * shape.head / forward) for what, n in rows.items()
    )
