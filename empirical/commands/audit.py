"""`stopping audit`: which assumption of the theory holds on a model's tokens."""

from pathlib import Path

import click

from empirical.analysis.audit import audit as run_audit
from empirical.commands.targets import for_each, replicates_option, traces_argument, window_option
from stopping.cli.numbers import NATS
from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import json_option, output, refuse_ignored, seed_option, show


@click.command()
@traces_argument
@window_option
@click.option(
    "--noise",
    "noise_ceiling",
    type=NATS,
    default=0.25,
    show_default=True,
    help="Noise level eps_max, nats, that the verdicts on A1-A3 are about.",
)
@click.option("--brief", is_flag=True, help="Verdicts and summary only.")
@replicates_option
@seed_option
@json_option
def audit(
    traces: tuple[Path, ...],
    K: int,
    noise_ceiling: float,
    brief: bool,
    replicates: int,
    seed: int,
    as_json: bool,
) -> None:
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
    if as_json:
        refuse_ignored("with --json", "brief")
    results = for_each(
        traces,
        "audit",
        lambda t: run_audit(t, K=K, seed=seed, replicates=replicates, noise_ceiling=noise_ceiling),
    )
    if as_json:
        click.echo(to_json([{"traces": name, "audit": result} for name, result in results]))
        return
    for name, result in results:
        show(output(), result.report(name, brief))
        click.echo()
