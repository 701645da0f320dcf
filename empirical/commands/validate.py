"""`stopping validate`: every rule on a model's tokens, against the final layer and hindsight."""

from pathlib import Path

import click
from rich.console import Console

from empirical.analysis.validate import Comparison, Row, Validation
from empirical.analysis.validate import validate as run_validate
from empirical.analysis.validate.core import MATERIAL
from empirical.commands.targets import (
    count,
    estimate,
    for_each,
    headline,
    narrow,
    number,
    percent,
    replicates_option,
    sentences,
    status_text,
    traces_argument,
    window_option,
)
from stopping.cli.numbers import NATS
from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import json_option, output, refuse_ignored, seed_option
from stopping.rules import parse_rule

OWN_TEXT = (
    "The references are the model's own greedy text: the final layer is right by construction, "
    "log-loss measures agreement with it, and nothing here says whether a rule gains."
)


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
    out = output()
    for name, result in results:
        out.print(headline(name, result.model, result.tokens, result.prompts, result.K, 0.95))
        if result.reference_is_own_text:
            out.print(sentences(OWN_TEXT))
        show_differences(out, result)
        show_behaviour(out, result)
        if by_difficulty:
            show_difficulties(out, result)
        out.print(sentences(summary(result)), "")


def show_differences(out: Console, result: Validation) -> None:
    """Log-loss and accuracy of every rule, against the final layer and the oracle."""
    caption = "regret: log-loss above the oracle's"
    if not result.reference_is_own_text:
        caption += (
            f"; verdict: log-loss, {count(result.compared, 'rule')} compared, each at level "
            f"{result.level:.2%}, better or worse by more than {result.material:g} nats"
        )
    rows = narrow(
        "Rules against the final layer (log-loss in nats)",
        *("rule", "loss", "loss minus final", "acc. %", "acc. minus final", "regret", "verdict"),
        caption=caption,
    )
    for row in result.rows:
        m, baseline = row.overall, row is result.final
        rows.add_row(
            row.name,
            number(m.log_loss.estimate, ".3f"),
            "–" if baseline else estimate(m.log_loss_vs_final, "+.3f"),
            number(100 * m.accuracy.estimate, ".1f"),
            "–" if baseline else estimate(percent(m.accuracy_vs_final), "+.1f"),
            number(m.regret.estimate, ".3f"),
            status_text(row.comparison),
            end_section=baseline or row is result.rows[-2],
        )
    out.print(rows)


def show_behaviour(out: Console, result: Validation) -> None:
    """How often and how far each rule moves, what it costs and what it promises."""
    rows = narrow(
        "What the rules do",
        *("rule", "moved", "changed", "of moved", "regressed", "fixed"),
        *("depth", "extra", "entropy", "optimism"),
        caption="changed: another argmax than the final layer's; regressed, fixed: predictions "
        "from right to wrong, from wrong to right; extra: projections per token beyond the final "
        "layer's; optimism: log-loss minus entropy at the chosen layer, nats",
    )
    for row in result.rows:
        m = row.overall
        rows.add_row(
            row.name,
            number(m.moved.estimate, ".1%"),
            number(m.substituted.estimate, ".1%"),
            number(m.substituted_when_moved.estimate, ".1%"),
            f"{m.right_to_wrong:,}",
            f"{m.wrong_to_right:,}",
            number(m.depth.estimate, ".2f"),
            number(m.projections.estimate, ".2f"),
            number(m.entropy.estimate, ".2f"),
            number(m.optimism.estimate, "+.2f"),
            end_section=row is result.final or row is result.rows[-2],
        )
    out.print(rows)


def show_difficulties(out: Console, result: Validation) -> None:
    """Differences to the final layer by difficulty."""
    groups = result.final.by_difficulty
    if not groups:
        out.print("(the traces know no difficulty)")
        return
    rows = narrow(
        "By difficulty: log-loss minus final (nats) / accuracy minus final",
        "rule",
        *(f"{g.difficulty or 'unknown'} ({g.measures.tokens:,})" for g in groups),
        caption="* 95% interval of this difference excludes zero; not adjusted for comparisons",
    )
    for row in result.rows[1:]:
        rows.add_row(row.name, *difficulty_cells(row), end_section=row is result.rows[-2])
    out.print(rows)


def difficulty_cells(row: Row) -> list[str]:
    """Both differences for each difficulty."""
    cells = []
    for group in row.by_difficulty:
        loss, accuracy = group.measures.log_loss_vs_final, group.measures.accuracy_vs_final
        cells.append(
            f"{number(loss.estimate, '+.2f')}{'*' if loss.excludes_zero else ' '} / "
            f"{number(accuracy.estimate, '+.1%')}{'*' if accuracy.excludes_zero else ' '}"
        )
    return cells


def summary(result: Validation) -> str:
    """One dry sentence or two."""
    gain = -result.oracle.overall.log_loss_vs_final.estimate
    if result.reference_is_own_text:
        return f"{count(result.compared, 'rule')}, no verdict on the model's own text."
    counts = [f"{c} {result.count(c)}" for c in Comparison]
    sentence = (
        f"Against the final layer, of {count(result.compared, 'rule')}: {', '.join(counts)} "
        f"(log-loss, 5% for all comparisons together). Hindsight would gain {gain:.2f} nats."
    )
    search = next((row for row in result.rows if row.name == "search"), None)
    if search is not None:
        m = search.overall
        sentence += (
            f" The search changes log-loss by {estimate(m.log_loss_vs_final, '+.2f')} nats and "
            f"accuracy by {estimate(percent(m.accuracy_vs_final), '+.1f')} points."
        )
    return sentence
