"""`stopping audit`: which assumption of the theory holds on a model's tokens."""

from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from empirical.analysis.audit import Audit, NoiseLevel, Status
from empirical.analysis.audit import audit as run_audit
from empirical.commands.targets import (
    count,
    estimate,
    for_each,
    headline,
    narrow,
    number,
    replicates_option,
    sentences,
    span,
    status_text,
    traces_argument,
    window_option,
)
from empirical.published import SETTING, SOURCE
from stopping.cli.numbers import NATS
from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import json_option, output, refuse_ignored, seed_option

FORMATS = {"share": ".1%", "nats": ".2f", "layers": ".2f"}


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
    out = output()
    for name, result in results:
        out.print(headline(name, result.model, result.tokens, result.prompts, result.K, 0.95))
        show_verdicts(out, result)
        if not brief:
            show_calibration(out, result)
            show_statistics(out, result)
            show_bins(out, result)
            show_noise(out, result)
            show_levels(out, result)
        out.print(sentences(summary(result)), "")


def show_verdicts(out: Console, result: Audit) -> None:
    """One line per assumption."""
    rows = narrow("Assumptions", "", "assumption", "status", "found")
    for column in rows.columns:
        column.justify = "left"
    for verdict in result.verdicts:
        rows.add_row(
            verdict.assumption, verdict.name, status_text(verdict.status), Text(verdict.sentence)
        )
    out.print(rows)


def show_calibration(out: Console, result: Audit) -> None:
    """Entropy against log-loss at each layer of the window."""
    rows = narrow(
        "A0: entropy and log-loss by layer, nats",
        *("layer", "entropy", "log-loss", "gap", "95%", "status"),
        caption=f"calibrated: gap within ±{result.calibration.materiality:g} nats",
    )
    below = [layer for layer in result.calibration.layers if not layer.in_window]
    for layer in result.calibration.layers:
        if layer.in_window:
            rows.add_row(
                str(layer.layer),
                number(layer.entropy.estimate, ".2f"),
                number(layer.log_loss.estimate, ".2f"),
                number(layer.gap.estimate, "+.2f"),
                span(layer.gap, "+.2f"),
                status_text(layer.status),
            )
    out.print(rows)
    if below:
        out.print(f"({count(len(below), 'traced layer')} below the window: see --json)")
    if result.calibration.by_difficulty:
        groups = narrow(
            "A0 by difficulty: gap, nats", "difficulty", "tokens", "final layer", "window mean"
        )
        for group in result.calibration.by_difficulty:
            groups.add_row(
                str(group.difficulty or "unknown"),
                f"{group.tokens:,}",
                estimate(group.final_gap, "+.2f"),
                estimate(group.window_gap, "+.2f"),
            )
        out.print(groups)


def show_statistics(out: Console, result: Audit) -> None:
    """Statistics of the paper, here and there."""
    rows = narrow(
        "Token statistics",
        "quantity",
        "here",
        "95%",
        "paper",
        caption=f"paper: {SETTING}; {SOURCE}",
    )
    for statistic in result.statistics.statistics:
        pattern = FORMATS[statistic.unit]
        rows.add_row(
            statistic.quantity,
            number(statistic.ours.estimate, pattern),
            span(statistic.ours, pattern),
            number(statistic.paper, pattern),
        )
    out.print(rows)


def show_bins(out: Console, result: Audit) -> None:
    """Depths, substitution by final-layer entropy, valleys by position."""
    depths = result.statistics.depth_counts
    rows = narrow("Depth of the search", "layers back", *(str(d) for d in range(len(depths))))
    rows.add_row("share of tokens", *(number(c / result.tokens, ".1%") for c in depths))
    out.print(rows)
    rows = narrow("Argmax changed, by final-layer entropy", "nats", "tokens", "here", "paper")
    for b in result.statistics.by_entropy:
        name = f"{b.low:g} to {b.high:g}" if b.high < float("inf") else f"{b.low:g} and above"
        rows.add_row(name, f"{b.tokens:,}", estimate(b.substituted, ".1%"), number(b.paper, ".1%"))
    out.print(rows)
    deciles = result.statistics.by_position
    rows = narrow(
        "Search leaves the final layer, by tenth of the completion",
        *("", *(str(d.decile) for d in deciles)),
    )
    rows.add_row("here", *(number(d.leaves.estimate, ".1%") for d in deciles))
    rows.add_row("paper", *(number(d.paper, ".1%") for d in deciles))
    out.print(rows)


def show_noise(out: Console, result: Audit) -> None:
    """T9's least noise level, and who refutes which ceiling."""
    noise = result.noise
    groups = (noise.overall, *noise.by_difficulty, *noise.by_layer)
    ceilings = [f"> {r.ceiling:g}" for r in result.noise.overall.refuted]
    rows = narrow(
        "A2: least eps_max that explains a token (T9), nats; tokens above a ceiling",
        *("", "tokens", "median", "90%", "99%", *ceilings),
        caption="a token above a ceiling refutes A1-A4 with that noise bound; layer: the turning "
        "point at a token's least eps_max",
    )
    for group in groups:
        rows.add_row(
            group.label,
            f"{group.tokens:,}",
            *(number(group.quantile(p), ".2f") for p in (0.5, 0.9, 0.99)),
            *(number(r.share.estimate, ".1%") for r in group.refuted),
        )
    out.print(rows)


def show_levels(out: Console, result: Audit) -> None:
    """What explains the tokens at common noise levels, and what T2 guarantees there."""
    rows = narrow(
        "A3: what explains the tokens at one noise level for all, and T2's guarantee",
        *("eps_max", "noise alone", "late rise", "too gentle", "too noisy"),
        *("steps > 2eps", "> 4eps", "bound"),
        caption="too gentle: refutes dominance; too noisy: refutes refinement with this noise; "
        "bound: 2 eps / entropy of the final layer, vacuous from 100% on",
    )
    for level in result.noise.levels:
        origin = "" if level.origin.startswith("ceiling") else f"  {level.origin}"
        rows.add_row(f"{level.eps_max:.2f}{origin}", *level_cells(level))
    out.print(rows)


def level_cells(level: NoiseLevel) -> list[str]:
    """Shares of one noise level."""
    shares = (
        level.noise_alone,
        level.late_rise,
        level.too_gentle,
        level.too_noisy,
        level.steps_above_noise,
        level.steps_certain,
    )
    return [
        *(number(share.estimate, ".1%") for share in shares),
        number(level.bound_to_entropy, ".0%"),
    ]


def summary(result: Audit) -> str:
    """One dry sentence or two."""
    counts = [f"{status} {result.count(status)}" for status in Status]
    level = next(level for level in result.noise.levels if level.origin == "90% of tokens")
    word = "vacuous" if level.vacuous else "not vacuous"
    return (
        f"Of A0-A4: {', '.join(counts)}. At the noise that explains 90% of the tokens "
        f"(eps_max = {level.eps_max:.2f} nats) T2 guarantees an excess below {level.bound:.2f} "
        f"nats, {level.bound_to_entropy:.0%} of the final layer's mean entropy: {word}."
    )
