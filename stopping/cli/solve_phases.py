"""`stopping solve phases`: where the paper's search is near the optimum."""

from collections.abc import Sequence
from pathlib import Path

import click

from stopping.changepoint import Component, read_model
from stopping.cli.options import (
    Kept,
    figure_option,
    paths_option,
    resume_options,
    seed_option,
    workers_options,
)
from stopping.cli.progress import counting
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import table
from stopping.errors import UserError
from stopping.optimal.diagram import (
    COSTS,
    EPS_MAX,
    PERTURBED,
    Optimality,
    diagram,
    is_near,
    reference,
    settings,
)
from stopping.support.files import FIGURE, require_writable
from stopping.support.parallel import Workers
from stopping.support.results import Report


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@paths_option
@figure_option("the phase diagram")
@seed_option
@workers_options
@resume_options
@with_json()
def phases(
    model: Path | None, paths: int, figure: Path | None, seed: int, workers: Workers, kept: Kept
) -> Reply:
    """Measure where the paper's search is near the optimum.

    Noise, the share of perturbed tokens and the cost of a projection vary; all else is that of
    MODEL, which is of one class and in nats (`stopping fit --classes 1 --scale nats`), or of the
    reference world.

    \b
    Examples:
      stopping solve phases --resume cells.jsonl --figure phases.svg
      stopping solve phases FIT.json --paths 2000 --json
    """
    require_writable((figure, FIGURE), inputs=() if model is None else (model,))
    component = component_of(model)
    common = settings(component, seed, paths)
    journal = kept.open(common)
    with counting("worlds", len(EPS_MAX) * len(PERTURBED) * len(COSTS), alike=True) as advance:
        found = diagram(component, seed, paths, workers=workers, journal=journal, advance=advance)

    def draw(path: Path) -> None:
        from stopping.figures.draw import save_diagram

        save_diagram(found, path)

    return Reply(common | {"cells": found}, report(found, paths, seed), [(figure, draw)])


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


def report(found: Sequence[Optimality], paths: int, seed: int) -> Report:
    """In how many worlds the search is near the optimum, for each cost."""
    rows = table(
        "Worlds in which the paper's search is near the optimum",
        *("cost", "worlds", "loss within 5%", "not", "undecided", "95% of the gain won"),
        caption="decided at 95% for all worlds together; cost in units of the mean rise; gain: "
        "over the final layer",
    )
    for cost in sorted({one.cost for one in found}):
        here = [one for one in found if one.cost == cost]
        near = [is_near(one, len(found)) for one in here]
        within, outside = near.count(True), near.count(False)
        won = sum(one.won >= 0.95 for one in here)
        counts = (len(here), within, outside, len(here) - within - outside, won)
        rows.add_row(f"{cost:g}", *map(str, counts))
    yield rows
    yield f"{len(found)} worlds, {paths:,} tokens each, seed {seed}"
