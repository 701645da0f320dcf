"""`stopping sweep`: every rule over a grid of worlds, resumable, on all cores or a cluster."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from rich.table import Table

from stopping.cli.numbers import WINDOW, Axis, Number
from stopping.cli.options import (
    Kept,
    figure_option,
    resume_options,
    rules_option,
    seed_option,
    workers_options,
)
from stopping.cli.progress import counting
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import table
from stopping.errors import UserError
from stopping.rules import AbstractRule, Final, Search, parse_rule, zoo
from stopping.simulation.sweep import LAWS, Law, Losses, World, grid, landscape, lead, settings
from stopping.support.files import FIGURE, require_writable
from stopping.support.parallel import Workers
from stopping.support.results import Report

SHOWN = 12
"""Values of an axis that the terminal shows."""
UNITS = Axis(Number(0, 1000))
"""Multiples of the noise."""
SIGNS = {1: "+", 0: ".", -1: "-"}


@click.command()
@click.option("--drift", default="0:1:21", type=UNITS, help="Fall per layer.")
@click.option("--rise", default="0:4:21", type=UNITS, help="Rise beyond V*.")
@click.option(
    "--perturbed",
    default="0.05,0.1,0.2,0.4,0.8",
    type=Axis(Number(0, 1)),
    help="Share of tokens that turn before the final layer.",
)
@click.option("--law", type=click.Choice(LAWS), default="uniform")
@click.option("--window", type=WINDOW, default=10, help="K.")
@rules_option("Default: the zoo; repeatable.")
@click.option(
    "--tokens",
    type=click.IntRange(2, 1_000_000_000),
    default=1 << 16,
    help="Tokens per world.",
)
@figure_option("the worlds")
@seed_option
@workers_options
@resume_options
@with_json()
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
    kept: Kept,
) -> Reply:
    """Compare all rules over a grid of worlds: where does the search pay?

    Drifts, rises and the rules' settings are in units of the noise (eps_max, or sigma). An axis is
    FIRST:LAST:COUNT, or numbers with commas.

    \b
    Examples:
      stopping sweep                                          2,205 worlds, all rules
      stopping sweep --resume cells.jsonl --jobs 2            resumes where it was stopped
      stopping sweep --law gaussian --figure worlds.svg
      stopping sweep --drift 0:1:101 --rise 0:4:101 --backend dask --scheduler tcp://head:8786
      stopping sweep --rule search --rule tolerance:tau=1 --perturbed 0.2 --json
    """
    require_writable((figure, FIGURE))
    rules = tuple(parse_rule(text, window) for text in specs) if specs else zoo(window)
    if len({rule.spec() for rule in rules}) < len(rules):
        raise UserError("--rule: the same rule twice")
    worlds = grid(drift, rise, perturbed, law, window)
    common = settings(rules, tokens, seed)
    journal = kept.open(common)
    with counting("worlds", len(worlds), alike=True) as advance:
        found = landscape(
            worlds, rules, tokens, seed, workers=workers, journal=journal, advance=advance
        )

    def draw(path: Path) -> None:
        from stopping.figures.draw import save_landscape

        save_landscape(found, rules, path)

    rows = [{"world": world, "found": losses} for world, losses in found.items()]
    content = {**common, "cells": rows}
    return Reply(content, report(found, rules, tokens, seed), [(figure, draw)])


def report(
    found: Mapping[World, Losses], rules: Sequence[AbstractRule], tokens: int, seed: int
) -> Report:
    """A map of search against final layer for each share, and a summary by rule."""
    search = next((i for i, rule in enumerate(rules) if isinstance(rule, Search)), None)
    final = next((i for i, rule in enumerate(rules) if isinstance(rule, Final)), None)
    if search is not None and final is not None:
        yield "Search against final layer, by the share of tokens perturbed:"
        for share in dict.fromkeys(world.perturbed for world in found):
            yield chart(found, share, search, final)
        yield (
            "+ the search loses less than the final layer, - more, . no difference beyond four "
            "standard errors\n"
        )
    best = Counter(losses.best for losses in found.values())
    rows = table("Rules", "rule", "best in worlds", "mean excess", "worst mean", "projections")
    for i, rule in enumerate(rules):
        means = [losses.mean[i] for losses in found.values()]
        rows.add_row(
            rule.name,
            str(best[i]),
            f"{np.mean(means):.4f}",
            f"{max(means):.4f}",
            f"{np.mean([losses.projections[i] for losses in found.values()]):.2f}",
        )
    yield rows
    yield (
        f"{len(found):,} worlds, {tokens:,} tokens each, seed {seed}; excess in units of the noise."
    )


def chart(worlds: Mapping[World, Losses], share: float, search: int, final: int) -> Table:
    """Draw rises across and drifts down; a sign for who loses less."""
    mine = {(w.drift, w.rise): losses for w, losses in worlds.items() if w.perturbed == share}
    drifts, rises = (thin(sorted({key[i] for key in mine})) for i in (0, 1))
    found = table(
        f"{100 * share:g}% perturbed",
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
