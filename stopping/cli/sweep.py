"""`stopping sweep`: every rule over a grid of worlds, resumable, on all cores or a cluster."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from stopping.cli.numbers import WINDOW, Axis, Number
from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import (
    fresh_option,
    json_option,
    output,
    progress,
    prose,
    resume_option,
    seed_option,
    table,
    workers_options,
)
from stopping.errors import UserError
from stopping.rules import AbstractRule, Final, Search, parse_rule, zoo
from stopping.simulation.sweep import LAWS, Cell, Law, World, grid, landscape, lead, settings
from stopping.support.files import FIGURE, require_writable
from stopping.support.parallel import Workers
from stopping.support.store import Journal

SHOWN = 12
"""Values of an axis that the terminal shows."""
UNITS = Axis(Number(0, 1000))
"""Multiples of the noise."""
SIGNS = {1: "+", 0: ".", -1: "-"}


@click.command()
@click.option("--drift", default="0:1:21", show_default=True, type=UNITS, help="Fall per layer.")
@click.option("--rise", default="0:4:21", show_default=True, type=UNITS, help="Rise beyond V*.")
@click.option(
    "--perturbed",
    default="0.05,0.1,0.2,0.4,0.8",
    show_default=True,
    type=Axis(Number(0, 1)),
    help="Share of tokens that turn before the final layer.",
)
@click.option("--law", type=click.Choice(LAWS), default="uniform", show_default=True)
@click.option("--window", type=WINDOW, default=10, show_default=True, help="K.")
@click.option(
    "--rule", "specs", multiple=True, metavar="RULE", help="Default: the zoo; repeatable."
)
@click.option(
    "--tokens",
    type=click.IntRange(2, 1_000_000_000),
    default=1 << 16,
    show_default=True,
    help="Tokens per world.",
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the worlds into this *.svg, *.pdf or *.png.",
)
@seed_option
@workers_options
@resume_option
@fresh_option
@json_option
def sweep(
    drift: tuple[float, ...],
    rise: tuple[float, ...],
    perturbed: tuple[float, ...],
    law: Law,
    window: int,
    specs: tuple[str, ...],
    tokens: int,
    figure: Path | None,
    seed: int,
    workers: Workers,
    resume: Path | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Compare all rules over a grid of worlds: where does the search pay?

    Drifts, rises and the rules' settings are in units of the noise (eps_max, or sigma). An axis is
    FIRST:LAST:COUNT, or numbers with commas.

    \b
    Examples:
      stopping sweep                                          2,205 worlds, all rules
      stopping sweep --resume cells.jsonl --jobs 2            goes on where it was stopped
      stopping sweep --law gaussian --figure worlds.svg
      stopping sweep --drift 0:1:101 --rise 0:4:101 --backend dask --scheduler tcp://head:8786
      stopping sweep --rule search --rule tolerance:tau=1 --perturbed 0.2 --json
    """
    require_writable((figure, FIGURE))
    rules = tuple(parse_rule(text, window) for text in specs) if specs else zoo(window)
    if len({rule.spec() for rule in rules}) < len(rules):
        raise UserError("--rule: the same rule twice")
    worlds = grid(drift, rise, perturbed, law, window)
    journal = Journal.open(resume, settings(rules, tokens, seed), fresh)
    with progress(alike=True) as bar:
        task = bar.add_task("worlds", total=len(worlds))
        cells = landscape(
            worlds,
            rules,
            tokens,
            seed,
            workers=workers,
            journal=journal,
            advance=lambda done: bar.advance(task, done),
        )
    try:
        if figure is not None:
            from stopping.figures.draw import save_landscape

            save_landscape(cells, rules, figure)
    finally:  # the result is printed even if it cannot be drawn
        if as_json:
            found = [{"world": world, "found": cell} for world, cell in cells.items()]
            click.echo(to_json({**settings(rules, tokens, seed), "cells": found}))
        else:
            show(cells, rules, tokens, seed)
    if figure is not None and not as_json:
        output().print(f"figure: {figure}", markup=False, soft_wrap=True)


def show(
    cells: Mapping[World, Cell], rules: Sequence[AbstractRule], tokens: int, seed: int
) -> None:
    """Print a map of search against final layer for each share, and a summary by rule."""
    out = output()
    search = next((i for i, rule in enumerate(rules) if isinstance(rule, Search)), None)
    final = next((i for i, rule in enumerate(rules) if isinstance(rule, Final)), None)
    if search is not None and final is not None:
        out.print("Search against final layer, by the share of tokens perturbed:")
        for share in dict.fromkeys(world.perturbed for world in cells):
            out.print(chart(cells, share, search, final))
        out.print(
            prose(
                "+ the search loses less than the final layer, - more, . no difference beyond four "
                "standard errors"
            ),
            "",
        )
    best = Counter(cell.best for cell in cells.values())
    found = table("Rules", "rule", "best in worlds", "mean excess", "worst mean", "probes")
    for i, rule in enumerate(rules):
        means = [cell.mean[i] for cell in cells.values()]
        found.add_row(
            rule.name,
            str(best[i]),
            f"{np.mean(means):.4f}",
            f"{max(means):.4f}",
            f"{np.mean([cell.probes[i] for cell in cells.values()]):.2f}",
        )
    out.print(found)
    out.print(
        prose(
            f"{len(cells):,} worlds, {tokens:,} tokens each, seed {seed}; excess in units of the "
            "noise."
        )
    )


def chart(cells: Mapping[World, Cell], share: float, search: int, final: int) -> object:
    """Draw rises across and drifts down; a sign for who loses less."""
    mine = {(w.drift, w.rise): cell for w, cell in cells.items() if w.perturbed == share}
    drifts, rises = (thin(sorted({key[i] for key in mine})) for i in (0, 1))
    found = table(
        f"{100 * share:g} % perturbed",
        "drift \\ rise",
        *(f"{rise:g}" for rise in rises),
    )
    for drift in drifts:
        found.add_row(
            f"{drift:g}", *(SIGNS[lead(mine[drift, rise], search, final)] for rise in rises)
        )
    return found


def thin(values: Sequence[float]) -> list[float]:
    """Pick as many values, evenly, as a line holds."""
    places = np.linspace(0, len(values) - 1, min(SHOWN, len(values))).round().astype(int)
    return [values[i] for i in places]
