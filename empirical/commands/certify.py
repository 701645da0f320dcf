"""`stopping certify`: the most aggressive setting that an engineer can sign for."""

from pathlib import Path
from typing import Any

import click
from rich.console import Group

from empirical.analysis.certify import GRID, certify_risk, exchange
from empirical.commands.options import for_each, traces_argument, window_option
from empirical.traces.files import read_traces
from stopping.cli.numbers import NATS, Number, Numbers
from stopping.cli.options import FILE, rules_option, seed_option
from stopping.cli.reply import Reply, of_each, with_json
from stopping.errors import UserError
from stopping.rules import parse_rule

SHARE = Number(0, 1, min_open=True, max_open=True)


@click.command()
@traces_argument
@rules_option("Rule that chooses the other layer; repeat to test several. [default: search]")
@window_option
@click.option(
    "--loss",
    type=click.Choice(["log-loss", "accuracy"]),
    default="log-loss",
    help="What is certified: log-loss of a linear pool, or accuracy of a randomised rule.",
)
@click.option(
    "--alpha",
    type=NATS,
    default=0.01,
    help="Accepted expected excess over plain decoding: nats a token, or share of tokens.",
)
@click.option("--delta", type=SHARE, default=0.1, help="Probability of being wrong.")
@click.option(
    "--grid",
    type=Numbers(SHARE),
    default=",".join(f"{share:g}" for share in GRID),
    help="Shares of the final layer, from the safest down.",
)
@click.option(
    "--unit",
    type=click.Choice(["prompt", "group"]),
    default="prompt",
    help="What is exchangeable: prompts, or groups of them (templates, documents, users).",
)
@click.option(
    "--against", type=FILE, help="Traces of new prompts: do they look like the certificate's?"
)
@seed_option
@with_json()
def certify(
    traces: tuple[Path, ...],
    specs: tuple[str, ...],
    K: int,
    against: Path | None,
    **request: Any,
) -> Reply:
    """Certify how much of the final layer a decoder must keep.

    The decoder mixes the final layer with the one that a rule chooses. The least share of the final
    layer is sought whose expected excess loss over plain decoding is at most ALPHA with probability
    1 − DELTA, for prompts of the kind traced. Nothing is assumed of the model, the lens or the
    rule. Without TRACES, the bundled ones of reference texts are taken.

    \b
    Examples:
      stopping certify                                     the search, the bundled traces
      stopping certify my.parquet --alpha 0.005 --delta 0.05
      stopping certify my.parquet --rule search:K=4 --rule tolerance:tau=0.5
      stopping certify my.parquet --loss accuracy --alpha 0.02 --unit group
      stopping certify my.parquet --against new.parquet    do new prompts look alike?
    """
    if against is not None and len(traces) != 1:
        raise UserError("--against: needs one file of traces to compare with")
    rules = [parse_rule(spec, K) for spec in specs or ("search",)]
    if against is not None:
        old, new = read_traces(traces[0]), read_traces(against)
        found = certify_risk(old, rules, **request)
        compared = exchange(old, new, rules[0], request["seed"])
        content = {"traces": str(traces[0]), "certificate": found, "exchange": compared}
        return Reply([content], Group(found, compared))
    results = for_each(
        traces,
        "certify",
        lambda t: certify_risk(t, rules, **request),
        bundled=lambda t: t.provenance.mode == "reference",
    )
    return of_each(results, "certificate", lambda name, result: result.report(name))
