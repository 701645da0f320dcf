"""`stopping validate`: every rule on a model's tokens, against the final layer and hindsight."""

from pathlib import Path

import click

from empirical.analysis.validate import validate as run_validate
from empirical.analysis.validate.core import MATERIAL
from empirical.commands.targets import for_each, replicates_option, traces_argument, window_option
from stopping.cli.numbers import NATS
from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import json_option, output, refuse_ignored, seed_option, show
from stopping.rules import parse_rule


@click.command()
@traces_argument
@click.option(
    "--rule",
    "specs",
    multiple=True,
    metavar="SPEC",
    help="Rule to compare, such as search or tolerance:tau=0.5; may be repeated. [default: all]",
)
@window_option
@click.option("--by-difficulty", is_flag=True, help="Add the differences by difficulty.")
@click.option(
    "--material",
    type=NATS,
    default=MATERIAL,
    show_default=True,
    help="Difference in log-loss, nats, that counts: less is called neither better nor worse.",
)
@replicates_option
@seed_option
@json_option
def validate(
    traces: tuple[Path, ...],
    specs: tuple[str, ...],
    K: int,
    by_difficulty: bool,
    material: float,
    replicates: int,
    seed: int,
    as_json: bool,
) -> None:
    """Compare rules with the final layer and the hindsight oracle on traced tokens.

    TRACES are trace files (see `stopping trace`); without any, the bundled ones are used. The
    oracle is the layer of the window at which the reference token is most probable: hindsight,
    not a rule. A rule whose SPEC leaves K out takes the window's.

    \b
    Examples:
      stopping validate                                   every rule, the bundled traces
      stopping validate my.parquet --by-difficulty
      stopping validate my.parquet --rule search --rule tolerance:tau=0.5
      stopping validate my.parquet --rule search:p=0.5 --window 6
      stopping validate my.parquet --json > v.json        everything, machine-readable
    """
    if as_json:
        refuse_ignored("with --json", "by_difficulty")
    rules = [parse_rule(spec, K) for spec in specs] or None
    results = for_each(
        traces,
        "validate",
        lambda t: run_validate(t, rules, K, seed, replicates, material),
    )
    if as_json:
        click.echo(to_json([{"traces": name, "validation": result} for name, result in results]))
        return
    for name, result in results:
        show(output(), result.report(name, by_difficulty))
        click.echo()
