"""`stopping validate`: every rule on a model's tokens, against the final layer and hindsight."""

from pathlib import Path

import click

from empirical.analysis.decisions import MATERIAL
from empirical.analysis.validate import Pool
from empirical.analysis.validate import validate as run_validate
from empirical.commands.options import (
    calibrate_final_option,
    for_each,
    material_option,
    replicates_option,
    traces_argument,
    window_option,
)
from stopping.cli.options import rules_option, seed_option
from stopping.cli.reply import Reply, of_each, with_json
from stopping.rules import AbstractRule, parse, parse_rule


@click.command()
@traces_argument
@rules_option("Rule to compare, such as search or tolerance:tau=0.5; repeat. [default: all]")
@window_option
@click.option("--by-difficulty", is_flag=True, help="Add the differences by difficulty.")
@calibrate_final_option
@material_option(MATERIAL)
@replicates_option
@seed_option
@with_json("by_difficulty")
def validate(
    traces: tuple[Path, ...],
    specs: tuple[str, ...],
    K: int,
    by_difficulty: bool,
    calibrate_final: bool,
    material: float,
    replicates: int,
    seed: int,
) -> Reply:
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
      stopping validate my.parquet --calibrate-final      the search is not held at L by its gap
      stopping validate --rule mix:weight=0.9             a pool, and the draw of its weights
      stopping validate my.parquet --json > v.json        everything, machine-readable
    """
    rules = [_decoder(spec, K) for spec in specs] or None
    results = for_each(
        traces,
        "validate",
        lambda t: run_validate(t, rules, K, seed, replicates, material),
        own_temperature=seed if calibrate_final else None,
    )
    return of_each(results, "validation", lambda name, result: result.report(name, by_difficulty))


def _decoder(spec: str, K: int) -> AbstractRule | Pool:
    """Read a rule, or a pool of the final layer with one."""
    found = parse(spec, K)
    return found if isinstance(found, Pool) else parse_rule(spec, K)
