"""How a lens and the noise that it measures are shown."""

from typing import TYPE_CHECKING

from rich.console import Console

from empirical.analysis.projection_noise import QUANTILES, MeasuredNoise
from stopping.cli.ui import prose, table
from stopping.support.tables import count, estimate, number, span

ADAPTED = (
    "A translation that was trained on reference tokens also learns the kind of text that they "
    "come from. Compare rules with a final layer that was adapted in the same way."
)
GIVEN = (
    " Given the reading (C2), where a layer reads less than the final one, it pays more than it "
    "promises by, in the worst bin, chosen on other prompts: {before} nats through the raw lens, "
    "{after} through this one."
)
JACOBIAN = (
    "Each layer's matrix is its mean Jacobian to the final layer, estimated; the relative error is "
    "{error:.0%} at most (layer {worst}), by comparison of two halves of the texts."
)
UNFAIR = " Here it was not (--final-too)."

if TYPE_CHECKING:
    from empirical.lenses import LensFile
    from empirical.lenses.evaluation import LensReport


def show_lens(out: Console, file: str, content: "LensFile") -> None:
    """Origin, tables and summary of a lens."""
    origin, report = content.origin, content.report
    out.print(f"{file}: {content.name}", markup=False, soft_wrap=True)
    out.print(
        prose(
            f"fitted on {origin.model}, {count(origin.prompts, 'prompt')} (seed {origin.seed}, "
            f"{origin.mode} mode), at most {origin.tokens:,} training tokens"
        )
    )
    if report is None:
        out.print("unfinished: run its `stopping lens fit` again")
        return
    show_calibration(out, report)
    show_noise(out, report.noise, f"on {report.tokens:,} test tokens")
    out.print(prose(summary(report)))
    if content.errors:
        worst = max(content.errors, key=lambda layer: content.errors[layer])
        out.print(prose(JACOBIAN.format(worst=worst, error=content.errors[worst])))
    if origin.kind == "affine" and origin.target == "reference":
        out.print(prose(ADAPTED if origin.final_too else ADAPTED + UNFAIR))


def show_calibration(out: Console, report: "LensReport") -> None:
    """Raw against fitted lens at every layer, on the test prompts."""
    rows = table(
        "Raw → fitted lens on the test prompts, nats",
        *("layer", "T", "log-loss", "entropy", "gap", "gap 95%", "KL to final", "accuracy"),
        caption=f"{report.tokens:,} tokens of {count(report.prompts, 'prompt')}; "
        "gap: log-loss − entropy, 0 if calibrated (A0)",
    )
    for row in report.layers:
        pairs = [
            f"{number(before.estimate, pattern)} → {number(after.estimate, pattern)}"
            for before, after, pattern in (
                (row.raw.log_loss, row.fitted.log_loss, ".2f"),
                (row.raw.entropy, row.fitted.entropy, ".2f"),
                (row.raw.gap, row.fitted.gap, "+.2f"),
                (row.raw.divergence, row.fitted.divergence, ".2f"),
                (row.raw.accuracy, row.fitted.accuracy, ".1%"),
            )
        ]
        pairs.insert(3, span(row.fitted.gap, "+.2f"))
        rows.add_row(str(row.layer), number(row.temperature, ".2f"), *pairs)
    out.print(rows)


def show_noise(out: Console, noise: MeasuredNoise, where: str) -> None:
    """Measured projection noise at every layer."""
    rows = table(
        f"Projection noise {where}: raw − calibrated entropy, nats",
        *("layer", "mean", "deviation", *(f"{q:.0%}" for q in QUANTILES), "corr. with next layer"),
        caption=f"{noise.tokens:,} tokens of {count(noise.prompts, 'prompt')}; 95% intervals over "
        "prompts",
    )
    for row in noise.layers:
        rows.add_row(
            str(row.layer),
            estimate(row.mean, "+.2f"),
            estimate(row.deviation, ".2f"),
            *(number(quantile.estimate, "+.2f") for quantile in row.quantiles),
            estimate(row.next_correlation, ".2f"),
        )
    out.print(rows)


def summary(report: "LensReport") -> str:
    """Say in a sentence or two what the lens has done to A0, and what it cannot do."""
    gaps = [
        [abs(quality.gap.estimate) for quality in qualities]
        for qualities in zip(*((row.raw, row.fitted) for row in report.layers), strict=True)
    ]
    before, after = max(gaps[0]), max(gaps[1])
    calibrated = sum(0.0 in row.fitted.gap for row in report.layers)
    given = (
        ""
        if report.fitted_kappa is None
        else GIVEN.format(
            before=estimate(report.raw_kappa, "+.2f") if report.raw_kappa else "unknown",
            after=estimate(report.fitted_kappa, "+.2f"),
        )
    )
    return (
        f"The largest calibration gap goes from {before:.2f} to {after:.2f} nats; at {calibrated} "
        f"of {len(report.layers)} layers the fitted lens's gap is compatible with 0. This is "
        "calibration in the mean: a rule that picks the least entropy still picks the layers that "
        f"are over-confident on that token.{given}"
    )
