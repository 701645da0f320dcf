"""The report in a few lines: for each model both answers, the numbers that decide, and why."""

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from empirical.evaluate.run import Evaluation
from empirical.report.calibration import CalibrationEffect
from empirical.report.numbers import interval, percent, points, sentence
from empirical.report.page import TONES
from empirical.report.results import ModelResult, Report

COLOURS = {"good": "green", "bad": "red", "open": "yellow", "mute": "dim"}


def show(report: Report, out: Console) -> None:
    """Print the summary."""
    sound = sum(finding.sound for finding in report.claims)
    out.print(
        f"Is the theorem true? {sound} of {len(report.claims)} claims hold with their broken twin "
        "rejected."
    )
    for finding in report.claims:
        if not finding.sound:
            out.print(
                f"  {finding.name}: {finding.verdict}; twin: {finding.twin_verdict}", markup=False
            )
    for model in report.models:
        out.print()
        show_model(model, out)
    for effect in report.calibrations:
        out.print(Padding(Text(calibration_line(effect)), (1, 0, 0, 0)))
    for solved in report.evaluations:
        out.print(Padding(Text(solved_line(solved)), (1, 0, 0, 0)))


def calibration_line(effect: CalibrationEffect) -> str:
    """Say in a sentence what the calibrated lens changes."""
    return (
        f"{effect.model}, {effect.calibrated.lens} lens in place of the raw one: the search less "
        f"the final layer goes from {interval(effect.raw.log_loss, signed=True)} to "
        f"{interval(effect.calibrated.log_loss, signed=True)} nats, the gap of A0 from "
        f"{interval(effect.raw.window_gap, signed=True)} to "
        f"{interval(effect.calibrated.window_gap, signed=True)} ({effect.tokens:,} tokens)."
    )


def solved_line(solved: Evaluation) -> str:
    """Say in a sentence which problems were solved."""
    rules = "; ".join(
        f"{row.name}: {percent(row.overall.accuracy.estimate)}, "
        f"{points(row.overall.difference)}, {row.comparison}"
        for row in solved.rules
    )
    return (
        f"{solved.provenance.model}, {len(solved.problems)} problems solved exactly: plain "
        f"decoding: {percent(solved.plain_accuracy.estimate)}; {rules}."
    )


def show_model(model: ModelResult, out: Console) -> None:
    """Print one model's verdict."""
    verdict, main = model.verdict, model.main
    out.print(
        Text.assemble(
            (model.model, "bold"),
            f" ({model.lens} lens; {main.tokens:,} tokens of {main.prompts:,} prompts, "
            f"{main.provenance.mode} mode, window of {main.audit.K} steps)",
        )
    )
    answers = (
        ("Does the guarantee apply?", verdict.guarantee.short, verdict.guarantee,
         verdict.guarantee_why),
        ("Should it be switched on?", verdict.headline, verdict.answer, verdict.answer_why),
    )  # fmt: skip
    for question, answer, status, why in answers:
        out.print(Text.assemble(f"  {question} ", (f"{answer}.", f"bold {COLOURS[TONES[status]]}")))
        out.print(Padding(Text(sentence(why)), (0, 0, 0, 4)))
    rows = Table.grid(padding=(0, 2))
    for found in verdict.deciding:
        rows.add_row(Text(found.label), Text(found.text))
    out.print(Padding(rows, (0, 0, 0, 4)))
    for line in verdict.explanation:
        out.print(Padding(Text(f"- {line}"), (0, 0, 0, 4)))
