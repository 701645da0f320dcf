"""`stopping solve --phases`: where the paper's search is near the optimum."""

from collections.abc import Sequence
from pathlib import Path

import click

from stopping.changepoint import Component, read_model
from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import output, progress, table
from stopping.errors import UserError
from stopping.optimal import diagram as diagrams
from stopping.support.parallel import Workers
from stopping.support.store import Journal


def show_phases(
    model: Path | None,
    figure: Path | None,
    resume: Path | None,
    fresh: bool,
    seed: int,
    paths: int,
    workers: Workers,
    as_json: bool,
) -> None:
    """Measure the cells that are missing, then draw or print all."""
    component = _component(model)
    journal = Journal.open(resume, diagrams.settings(component, seed, paths), fresh)
    total = len(diagrams.EPS_MAX) * len(diagrams.PERTURBED) * len(diagrams.COSTS)
    with progress(alike=True) as bar:
        task = bar.add_task("cells", total=total)
        cells = diagrams.diagram(
            component,
            seed,
            paths,
            workers=workers,
            journal=journal,
            advance=lambda done: bar.advance(task, done),
        )
    try:
        if figure is not None:
            from stopping.figures.draw import save_phase_diagram

            save_phase_diagram(cells, figure)
    finally:  # the result is printed even if it cannot be drawn
        if as_json:
            click.echo(to_json(diagrams.settings(component, seed, paths) | {"cells": cells}))
        else:
            _show(cells, paths, seed)
    if figure is not None and not as_json:
        output().print(f"figure: {figure}", markup=False, soft_wrap=True)


def _show(cells: Sequence[diagrams.Cell], paths: int, seed: int) -> None:
    out = output()
    rows = table(
        "Cells in which the paper's search is near the optimum",
        *("cost", "cells", "loss within 5%", "not", "undecided", "95% of the gain won"),
        caption="decided at two standard errors; cost in units of the mean rise; gain: over the "
        "final layer",
    )
    for cost in sorted({cell.cost for cell in cells}):
        rows.add_row(*_near(cells, cost))
    out.print(rows)
    out.print(f"{len(cells)} cells, {paths:,} tokens each, seed {seed}")


def _component(model: Path | None) -> Component:
    if model is None:
        return diagrams.reference()
    law = read_model(model)
    if len(law.components) > 1 or law.scale.shift is not None:
        raise UserError(
            f"{model}: phase diagrams vary one component on the scale of nats; fit one class "
            "without a logarithm, or leave MODEL out for the reference world"
        )
    return law.components[0]


def _near(cells: Sequence[diagrams.Cell], cost: float) -> tuple[str, ...]:
    here = [cell for cell in cells if cell.cost == cost]
    within = sum(cell.near + 2 * cell.near_stderr <= 0 for cell in here)
    outside = sum(cell.near - 2 * cell.near_stderr > 0 for cell in here)
    won = sum(cell.won >= 0.95 for cell in here)
    counts = (len(here), within, outside, len(here) - within - outside, won)
    return (f"{cost:g}", *map(str, counts))
