"""`stopping solve --phases`: where the paper's search is near the optimum."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from stopping.changepoint import Component, read_model
from stopping.cli.options import Kept
from stopping.cli.progress import counting
from stopping.cli.result import Result
from stopping.cli.ui import table
from stopping.errors import UserError
from stopping.optimal.diagram import (
    COSTS,
    EPS_MAX,
    PERTURBED,
    Optimality,
    diagram,
    reference,
    settings,
)
from stopping.support.parallel import Workers


def phases(
    model: Path | None, figure: Path | None, kept: Kept, seed: int, paths: int, workers: Workers
) -> Result:
    """Measure the points that are missing, then draw or print all."""
    component = component_of(model)
    common = settings(component, seed, paths)
    journal = kept.open(common)
    with counting("worlds", len(EPS_MAX) * len(PERTURBED) * len(COSTS), alike=True) as advance:
        found = diagram(component, seed, paths, workers=workers, journal=journal, advance=advance)

    def draw(path: Path) -> None:
        from stopping.figures.draw import save_diagram

        save_diagram(found, path)

    return Result(
        common | {"cells": found},
        partial(show, found=found, paths=paths, seed=seed),
        [(figure, draw)],
    )


def component_of(model: Path | None) -> Component:
    """Return what the diagram varies: the one component of the model, or the reference."""
    if model is None:
        return reference()
    law = read_model(model)
    if len(law.components) > 1 or law.scale.shift is not None:
        raise UserError(
            f"{model}: phase diagrams vary one component on the scale of nats; fit one class "
            "without a logarithm, or leave MODEL out for the reference world"
        )
    return law.components[0]


def show(out: Console, found: Sequence[Optimality], paths: int, seed: int) -> None:
    """Print in how many worlds the search is near the optimum, for each cost."""
    rows = table(
        "Worlds in which the paper's search is near the optimum",
        *("cost", "worlds", "loss within 5%", "not", "undecided", "95% of the gain won"),
        caption="decided at two standard errors; cost in units of the mean rise; gain: over the "
        "final layer",
    )
    for cost in sorted({one.cost for one in found}):
        here = [one for one in found if one.cost == cost]
        within = sum(one.near + 2 * one.near_stderr <= 0 for one in here)
        outside = sum(one.near - 2 * one.near_stderr > 0 for one in here)
        won = sum(one.won >= 0.95 for one in here)
        counts = (len(here), within, outside, len(here) - within - outside, won)
        rows.add_row(f"{cost:g}", *map(str, counts))
    out.print(rows)
    out.print(f"{len(found)} worlds, {paths:,} tokens each, seed {seed}")
