"""The report in a few lines: for each model both answers, the numbers that decide, and why."""

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from empirical.report.numbers import sentence
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
