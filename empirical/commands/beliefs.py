"""`stopping beliefs`: the posterior of the turning point for every token."""

from pathlib import Path

import click

from empirical.commands.targets import narrow
from empirical.fitting.posterior import BELIEFS, Beliefs, find_beliefs, write_beliefs
from empirical.traces.files import read_traces
from stopping.changepoint import read_model
from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import json_option, output
from stopping.support.files import require_writable


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("traces", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write the beliefs of every token here (Parquet).",
)
@json_option
def beliefs(model: Path, traces: Path, out: Path | None, as_json: bool) -> None:
    """Say what MODEL, fitted by `stopping fit`, believes of the tokens in TRACES.

    For every token: the posterior probability of each turning point V*, the expected excess of each
    layer in nats, and the layer of least expected excess (the Bayes rule, S3).

    \b
    Examples:
      stopping beliefs FIT.json my.parquet --out beliefs.parquet
      stopping beliefs FIT.json my.parquet --json
    """
    require_writable((out, BELIEFS), inputs=[model, traces])
    found = find_beliefs(read_model(model), read_traces(traces))
    try:
        if out is not None:
            write_beliefs(out, found)
    finally:  # the result is printed even if it cannot be written
        if as_json:
            click.echo(to_json(summary(found)))
        else:
            show(found)
    if out is not None and not as_json:
        output().print(f"Every token: {out}", markup=False, soft_wrap=True)


def show(found: Beliefs) -> None:
    """Print a row for each layer."""
    console = output()
    rows = narrow(
        f"Turning points of {len(found.prompt):,} tokens",
        *("layer", "mean P(V* = layer)", "most probable", "chosen by Bayes", "expected excess"),
        caption="shares of tokens; expected excess: of decoding the layer always, nats",
    )
    content = summary(found)
    for i, layer in enumerate(found.layers):
        rows.add_row(
            str(layer),
            f"{content['turning'][i]:.1%}",
            f"{content['most_probable'][i]:.1%}",
            f"{content['chosen'][i]:.1%}",
            f"{content['excess'][i]:.3f}",
        )
    console.print(rows)
    console.print(f"Known with probability 0.9 or more: {found.certain:.1%} of the tokens.")


def summary(found: Beliefs) -> dict[str, list[float]]:
    """Means over the tokens, one value for each layer."""
    likely = found.layers[found.turning.argmax(axis=1)]
    return {
        "layers": [float(layer) for layer in found.layers],
        "turning": found.turning_mean.tolist(),
        "most_probable": [float((likely == layer).mean()) for layer in found.layers],
        "chosen": [float((found.best == layer).mean()) for layer in found.layers],
        "excess": found.excess.mean(axis=0).tolist(),
        "certain": [found.certain],
    }
