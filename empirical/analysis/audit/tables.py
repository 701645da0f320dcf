"""What an audit prints: the verdicts, one table for each question, and a dry summary."""

from rich.text import Text

from empirical.analysis.audit.core import Audit
from empirical.analysis.audit.levels import NoiseLevel
from empirical.analysis.audit.verdicts import Status
from empirical.published import SETTING, SOURCE
from empirical.traces.window import headline
from stopping.support.results import Report
from stopping.support.tables import count, estimate, number, span, status_text, table

FORMATS = {"share": ".1%", "nats": ".2f", "layers": ".2f"}


def report(result: Audit, name: str, brief: bool) -> Report:
    """All of it; verdicts and summary alone if `brief`."""
    yield headline(name, result.model, result.tokens, result.prompts, result.K)
    yield from verdicts(result)
    if not brief:
        yield from calibration(result)
        yield from statistics(result)
        yield from bins(result)
        yield from noise(result)
        yield from levels(result)
    yield summary(result)


def verdicts(result: Audit) -> Report:
    """One line per assumption."""
    rows = table("Assumptions", "", "assumption", "status", "found")
    for column in rows.columns:
        column.justify = "left"
    for verdict in (*result.verdicts, result.given_reading.verdict):
        rows.add_row(
            verdict.assumption, verdict.name, status_text(verdict.status), Text(verdict.sentence)
        )
    yield rows


def calibration(result: Audit) -> Report:
    """Entropy against log-loss at each layer of the window."""
    rows = table(
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
    yield rows
    if below:
        yield (f"({count(len(below), 'traced layer')} below the window: see --json)")
    if result.calibration.by_difficulty:
        groups = table(
            "A0 by difficulty: gap, nats", "difficulty", "tokens", "final layer", "window mean"
        )
        for group in result.calibration.by_difficulty:
            groups.add_row(
                str(group.difficulty or "unknown"),
                f"{group.tokens:,}",
                estimate(group.final_gap, "+.2f"),
                estimate(group.window_gap, "+.2f"),
            )
        yield groups


def statistics(result: Audit) -> Report:
    """Statistics of the paper, here and there."""
    rows = table(
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
    yield rows


def bins(result: Audit) -> Report:
    """Depths, substitution by final-layer entropy, valleys by position."""
    depths = result.statistics.depth_counts
    rows = table("Depth of the search", "layers back", *(str(d) for d in range(len(depths))))
    rows.add_row("share of tokens", *(number(c / result.tokens, ".1%") for c in depths))
    yield rows
    rows = table("Argmax changed, by final-layer entropy", "nats", "tokens", "here", "paper")
    for b in result.statistics.by_entropy:
        name = f"{b.low:g} to {b.high:g}" if b.high < float("inf") else f"{b.low:g} and above"
        rows.add_row(name, f"{b.tokens:,}", estimate(b.substituted, ".1%"), number(b.paper, ".1%"))
    yield rows
    deciles = result.statistics.by_position
    rows = table(
        "Search leaves the final layer, by tenth of the completion",
        *("", *(str(d.decile) for d in deciles)),
    )
    rows.add_row("here", *(number(d.leaves.estimate, ".1%") for d in deciles))
    rows.add_row("paper", *(number(d.paper, ".1%") for d in deciles))
    yield rows


def noise(result: Audit) -> Report:
    """T9's least noise level, and who refutes which ceiling."""
    noise = result.noise
    groups = (noise.overall, *noise.by_difficulty, *noise.by_layer)
    ceilings = [f"> {r.ceiling:g}" for r in result.noise.overall.refuted]
    rows = table(
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
    yield rows


def levels(result: Audit) -> Report:
    """What explains the tokens at common noise levels, and what T2 guarantees there."""
    rows = table(
        "A3: what explains the tokens at one noise level for all, and T2's guarantee",
        *("eps_max", "noise alone", "late rise", "too gentle", "too noisy"),
        *("steps > 2eps", "> 4eps", "bound"),
        caption="too gentle: refutes dominance; too noisy: refutes refinement with this noise; "
        "bound: 2 eps / entropy of the final layer, vacuous from 100% on",
    )
    for level in result.noise.levels:
        origin = "" if level.origin.startswith("ceiling") else f"  {level.origin}"
        rows.add_row(f"{level.eps_max:.2f}{origin}", *level_cells(level))
    yield rows


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
