"""`stopping fit beliefs`: the posterior of the turning point for every token."""

from functools import partial
from pathlib import Path

import click

from empirical.commands.options import PATH
from empirical.fitting.posterior import BELIEFS, Beliefs, find_beliefs, write_beliefs
from empirical.traces.files import read_traces
from stopping.changepoint import read_model
from stopping.cli.options import FILE
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import table
from stopping.support.files import require_writable
from stopping.support.results import Report


@click.command()
@click.argument("model", type=PATH)
@click.argument("traces", type=PATH)
@click.option("--out", type=FILE, help="Write the beliefs of every token here (Parquet).")
@with_json()
def beliefs(model: Path, traces: Path, out: Path | None) -> Reply:
    """Say what MODEL, fitted by `stopping fit`, believes of the tokens in TRACES.

    For every token: the posterior probability of each turning point V*, the expected excess of each
    layer in nats, and the layer of least expected excess (the Bayes rule, S3).

    \b
    Examples:
      stopping fit beliefs FIT.json my.parquet --out beliefs.parquet
      stopping fit beliefs FIT.json my.parquet --json
    """
    require_writable((out, BELIEFS), inputs=[model, traces])
    found = find_beliefs(read_model(model), read_traces(traces))
    write = partial(write_beliefs, beliefs=found)
    return Reply(summary(found), report(found), [(out, write)])


def report(found: Beliefs) -> Report:
    """A row for each layer."""
    content = summary(found)
    rows = table(
        f"Turning points of {len(found.prompt):,} tokens",
        *("layer", "mean P(V* = layer)", "most probable", "chosen by Bayes", "expected excess"),
        caption="shares of tokens; expected excess: of decoding the layer always, nats",
    )
    names = ("turning", "most_probable", "chosen")
    for i, layer in enumerate(found.layers):
        shares = (f"{content[name][i]:.1%}" for name in names)
        rows.add_row(str(layer), *shares, f"{content['excess'][i]:.3f}")
    yield rows
    yield f"Known with probability 0.9 or more: {found.certain:.1%} of the tokens."


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
