"""`stopping robustness`: which bound survives which broken assumption."""

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase

import click
from rich.table import Table
from rich.text import Text

from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import (
    json_option,
    output,
    progress,
    prose,
    seed_option,
    table,
    workers_options,
)
from stopping.errors import UserError
from stopping.model.scenarios import SURE, Bound, Scenario, scenarios
from stopping.simulation.robustness import Basis, Outcome, Row, robustness_table
from stopping.support.parallel import Workers

COLOURS = {Outcome.SURVIVES: "green", Outcome.FAILS: "red", Outcome.UNDECIDED: "yellow"}
ERROR = 1e-3
"""Chance that any row of the table comes out wrong."""


@click.command()
@click.option(
    "--scenario",
    "names",
    multiple=True,
    metavar="NAME",
    help="Broken assumption, or a pattern of 'assumption, parameter, shape'; repeatable.",
)
@click.option(
    "--draws",
    type=click.IntRange(2, 1_000_000_000),
    default=1 << 18,
    show_default=True,
    help="Tokens per scenario.",
)
@seed_option
@workers_options
@json_option
def robustness(
    names: tuple[str, ...], draws: int, seed: int, workers: Workers, as_json: bool
) -> None:
    """Ask the bounds in worlds where an assumption fails.

    A survival is a theorem or a finding of the simulation about this world alone; a failure needs
    no more than the one world. A sure bound that no token broke stays undecided.

    \b
    Examples:
      stopping robustness                                  every world, within a minute
      stopping robustness --scenario A3 --scenario A4      two broken assumptions
      stopping robustness --scenario '*rho*flat'           correlated noise without drift
      stopping robustness --draws 20000 --seed 7 --json    fewer draws, machine-readable
    """
    chosen = select(names)
    with progress() as bar:
        task = bar.add_task("robustness", total=len(chosen))
        rows = robustness_table(
            seed, draws, chosen, ERROR, workers, lambda done: bar.advance(task, done)
        )
    if as_json:
        click.echo(to_json({"seed": seed, "draws": draws, "error": ERROR, "rows": rows}))
    else:
        show(rows, draws, seed)


def select(names: tuple[str, ...]) -> tuple[Scenario, ...]:
    """Return the scenarios that any of `names` fits; all of them for none.

    Raises
    ------
    UserError
        If a name fits no scenario.
    """
    every = scenarios()
    for name in names:
        if not any(matches(scenario, name) for scenario in every):
            known = ", ".join(dict.fromkeys(scenario.broken for scenario in every))
            raise UserError(
                f"--scenario {name!r} fits no scenario; broken assumptions are: {known}; "
                "a pattern is matched with 'assumption, parameter, shape'"
            )
    return tuple(s for s in every if not names or any(matches(s, name) for name in names))


def matches(scenario: Scenario, pattern: str) -> bool:
    """Whether the broken assumption or the full name fits the pattern."""
    full = f"{scenario.broken}, {scenario.parameter}, {scenario.shape}"
    return scenario.broken == pattern or fnmatchcase(full, pattern)


def show(rows: Sequence[Row], draws: int, seed: int) -> None:
    """Print one table for each broken assumption, and what became of each bound."""
    out = output()
    for broken in dict.fromkeys(row.broken for row in rows):
        title = "No assumption broken" if broken == "nothing" else f"Broken: {broken}"
        out.print(section(title, [row for row in rows if row.broken == broken]))
    out.print(summary(rows))
    out.print(
        prose(
            "shares and means with their standard errors; how far: the largest loss drawn (for T1 "
            "the largest number of layers above V*) for a bound on every token, else estimate / "
            "limit."
        ),
        prose(
            f"{len(rows)} rows, {draws:,} tokens per world, seed {seed}, error level {ERROR:g} "
            "for the whole table."
        ),
    )


def section(title: str, rows: Sequence[Row]) -> Table:
    """Table of one broken assumption, each world with its bounds below it."""
    found = table(title, "world", "limit", "estimate", "how far", "outcome", "basis")
    for column in (4, 5):
        found.columns[column].justify = "left"
    worlds = dict.fromkeys((row.parameter, row.shape) for row in rows)
    for parameter, shape in worlds:
        found.add_section()
        found.add_row(Text(f"{parameter}, {shape}", style="bold"))
        for row in rows:
            if (row.parameter, row.shape) == (parameter, shape):
                found.add_row(
                    f"  {row.bound}",
                    f"{row.limit:.4g}",
                    f"{row.estimate:.4g} ± {row.stderr:.1g}",
                    how_far_text(row),
                    Text(str(row.outcome), style=COLOURS[row.outcome]),
                    basis_text(row),
                )
    return found


def summary(rows: Sequence[Row]) -> Table:
    """Count the outcomes of each bound over the worlds with a broken assumption."""
    counts = table(
        "Survivals by theorem and by simulation, and failures",
        "bound",
        "theorem",
        "simulation",
        "fails",
        "undecided",
        "worst",
    )
    for bound in Bound:
        mine = [row for row in rows if row.bound is bound and row.broken != "nothing"]
        if not mine:
            continue
        outcome = Counter((row.outcome, row.basis) for row in mine)
        failed = [row for row in mine if row.outcome is Outcome.FAILS]
        worst = max(failed, key=lambda row: row.estimate / (row.limit or 1.0), default=None)
        counts.add_row(
            str(bound),
            str(outcome[Outcome.SURVIVES, Basis.THEOREM]),
            str(outcome[Outcome.SURVIVES, Basis.SIMULATION]),
            str(len(failed)),
            str(sum(row.outcome is Outcome.UNDECIDED for row in mine)),
            "" if worst is None else worst_text(worst),
        )
    return counts


def worst_text(row: Row) -> str:
    """By how much the worst failure fails."""
    if row.bound in SURE:
        return f"{100 * row.estimate:.3g} % of tokens"
    return f"{row.estimate / row.limit:.3g} times the bound"


def how_far_text(row: Row) -> str:
    """Show the largest overshoot of a sure bound, or the share of the bound that is used."""
    if row.bound is Bound.CONTAINMENT:
        layers = round(row.greatest)
        return f"{layers} layer" + "s" * (layers != 1)
    return f"{row.greatest:.3g} nats" if row.bound in SURE else f"{row.estimate / row.limit:.3g} x"


def basis_text(row: Row) -> str:
    """Name why a bound survives; a failure or an open question has the one world behind it."""
    return str(row.basis if row.outcome is Outcome.SURVIVES else Basis.SIMULATION)
