"""`stopping audit`: which assumption of the theory holds on a model's tokens."""

from pathlib import Path

import click

from empirical.analysis.audit import audit as run_audit
from empirical.analysis.audit.means import audit_means, read_means
from empirical.commands.targets import for_each, replicates_option, traces_argument, window_option
from empirical.data import public_means
from stopping.cli.numbers import NATS
from stopping.cli.options import figure_option
from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import json_option, output, refuse_ignored, seed_option, show
from stopping.errors import UserError
from stopping.support.files import FIGURE, require_writable

PUBLIC = "public"


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
@click.option(
    "--means",
    is_flag=False,
    flag_value=PUBLIC,
    metavar="[FILE]",
    help="Audit a CSV table of means by layer in place of traces: what means can tell of A0. "
    "Without a file, public means of six model families of 4 to 16 billion parameters.",
)
@figure_option("the gaps of --means")
@replicates_option
@seed_option
@json_option
def audit(
    traces: tuple[Path, ...],
    K: int,
    noise_ceiling: float,
    brief: bool,
    means: str | None,
    figure: Path | None,
    replicates: int,
    seed: int,
    as_json: bool,
) -> None:
    """Say how far the assumptions A0-A4 hold on traced tokens.

    TRACES are trace files (see `stopping trace`); without any, the bundled ones are audited.
    The paper's token statistics stand beside its published figures.

    With --means the columns of FILE are model, variant (base, instruct), lens (raw, ...), tokens,
    layer (0 first), mean_entropy and mean_kl_final (nats), and, if there, kind and last_layer.

    \b
    Examples:
      stopping audit                             the bundled traces
      stopping audit --brief                     verdicts only
      stopping audit my.parquet --window 6       own traces, six steps back
      stopping audit my.parquet --noise 0.5      verdicts at a larger noise level
      stopping audit my.parquet --json > a.json  everything, machine-readable
      stopping audit --means                     public means of larger models
      stopping audit --means my.csv              own table of means
    """
    if means is not None:
        refuse_ignored("with --means", "noise_ceiling", "brief", "replicates")
        if traces:
            raise UserError("--means audits a table in place of traces: give one of them, not both")
        _audit_means(means, K, figure, as_json)
        return
    refuse_ignored("without --means", "figure")
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


def _audit_means(means: str, K: int, figure: Path | None, as_json: bool) -> None:
    """Audit a table of means, and draw it if asked."""
    path = public_means() if means == PUBLIC else Path(means)
    require_writable((figure, FIGURE), inputs=[path])
    read = read_means(path)
    result = audit_means(read, K)
    if figure is not None:
        from empirical.figures.means import save_means

        save_means(figure, read)
    if as_json:
        click.echo(to_json(vars(result)))
    else:
        show(output(), result.report())
