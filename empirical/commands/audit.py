"""`stopping audit`: which assumption of the theory holds on a model's tokens."""

from pathlib import Path

import click

from empirical.analysis.audit import audit as run_audit
from empirical.commands.options import (
    calibrate_final_option,
    for_each,
    replicates_option,
    traces_argument,
    window_option,
)
from stopping.cli.lazy import WithMore
from stopping.cli.numbers import NATS
from stopping.cli.options import seed_option
from stopping.cli.reply import Reply, of_each, with_json


@click.command(
    cls=WithMore,
    more={name: f"empirical.commands.audit_{name}:{name}" for name in ("means", "phases")},
)
@traces_argument
@window_option
@click.option(
    "--noise",
    "noise_ceiling",
    type=NATS,
    default=0.25,
    help="Noise level eps_max, nats, that the verdicts on A1-A3 are about.",
)
@calibrate_final_option
@click.option("--brief", is_flag=True, help="Verdicts and summary only.")
@replicates_option
@seed_option
@with_json("brief")
def audit(
    traces: tuple[Path, ...],
    K: int,
    noise_ceiling: float,
    calibrate_final: bool,
    brief: bool,
    replicates: int,
    seed: int,
) -> Reply:
    """Say how far the assumptions A0-A4 hold on traced tokens.

    TRACES are trace files (see `stopping trace`); without any, the bundled ones are audited.
    The paper's token statistics stand beside its published figures.

    \b
    Examples:
      stopping audit                             the bundled traces
      stopping audit --brief                     verdicts only
      stopping audit my.parquet --window 6       own traces, six steps back
      stopping audit my.parquet --noise 0.5      verdicts at a larger noise level
      stopping audit my.parquet --json > a.json  everything, machine-readable
    """
    results = for_each(
        traces,
        "audit",
        lambda t: run_audit(t, K=K, seed=seed, replicates=replicates, noise_ceiling=noise_ceiling),
        own_temperature=seed if calibrate_final else None,
    )
    return of_each(results, "audit", lambda name, result: result.report(name, brief))
