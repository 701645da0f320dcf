"""`stopping verify robustness`: which bound survives which broken assumption."""

from collections import Counter
from collections.abc import Sequence

import click
from rich.table import Table
from rich.text import Text

from stopping.cli.draws import draws_options, matching
from stopping.cli.options import Kept, resume_options, seed_option, workers_options
from stopping.cli.progress import counting
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import table
from stopping.model.scenarios import SURE, Bound, Scenario, scenarios
from stopping.simulation.robustness import Basis, Outcome, Row, robustness_table, settings
from stopping.support.parallel import Workers
from stopping.support.results import Report

COLOURS = {Outcome.SURVIVES: "green", Outcome.FAILS: "red", Outcome.UNDECIDED: "yellow"}
TOKENS = 1 << 18
"""Tokens per world at effort 1."""


@click.command()
@click.argument("names", nargs=-1)
@draws_options
@seed_option
@workers_options
@resume_options
@with_json()
def robustness(
    names: tuple[str, ...], effort: float, error: float, seed: int, workers: Workers, kept: Kept
) -> Reply:
    """Ask the bounds in worlds where an assumption fails.

    NAMES are broken assumptions, or patterns of 'assumption, parameter, shape'. A survival is a
    theorem or a finding of the simulation about this world alone; a failure needs no more than the
    one world. A sure bound that no token broke stays undecided.

    \b
    Examples:
      stopping verify robustness                   every world, within a minute
      stopping verify robustness A3 A4             two broken assumptions
      stopping verify robustness '*rho*flat'       correlated noise without drift
      stopping verify robustness --effort 0.1 --seed 7 --json    fewer draws, machine-readable
    """
    chosen = select(names)
    draws = max(2, round(effort * TOKENS))
    journal = kept.open(settings(seed, draws))
    with counting("worlds", len(chosen)) as advance:
        rows = robustness_table(
            seed, draws, chosen, error, workers=workers, journal=journal, advance=advance
        )
    content = {"seed": seed, "draws": draws, "error": error, "rows": rows}
    return Reply(content, report(rows, draws, seed, error))


def select(names: Sequence[str]) -> tuple[Scenario, ...]:
    """Return the scenarios that any of `names` fits; all of them for none.

    Raises
    ------
    UserError
        If a name fits no scenario.
    """
    return matching(
        scenarios(),
        names,
        lambda scenario: (scenario.broken, str(scenario)),
        "{} fits no world; broken assumptions are: {}; a pattern is matched with 'assumption, "
        "parameter, shape'",
    )


def report(rows: Sequence[Row], draws: int, seed: int, error: float) -> Report:
    """One table for each broken assumption, and what became of each bound."""
    for broken in dict.fromkeys(row.broken for row in rows):
        title = "No assumption broken" if broken == "nothing" else f"Broken: {broken}"
        yield section(title, [row for row in rows if row.broken == broken])
    yield summary(rows)
    yield (
        "shares and means with their standard errors; how far: the largest loss drawn (for T1 "
        "the largest number of layers above V*) for a bound on every token, else estimate / "
        "limit."
    )
    yield (
        f"{len(rows)} rows, {draws:,} tokens per world, seed {seed}, error level {error:g} "
        "for the whole table."
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
        return f"{100 * row.estimate:.3g}% of tokens"
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
