"""The report on a terminal: what was found and why for each model, and one table for all."""

import re
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from empirical.evaluation.run import Evaluation
from empirical.numbers import GAP, NONE, interval, percent, points, sentence
from empirical.report.calibration import CalibrationEffect
from empirical.report.page import TONES
from empirical.report.results import ModelResult, Report
from empirical.report.summary import HEADINGS, SummaryRow
from empirical.report.verdict import lens_kind
from stopping.claims import tally
from stopping.support.tables import prose

COLOURS = {"good": "green", "bad": "red", "open": "yellow", "mute": "dim"}
NAME = 18
"""Columns of a model's name in the table: with the longest answers it then fits into 80."""


def show(report: Report, out: Console) -> None:
    """Print everything but the table."""
    out.print(prose(f"Is the theorem true? {tally(report.claims)}"))
    for finding in report.claims:
        if not finding.sound:
            out.print(
                f"  {finding.name}: {finding.verdict}; negative control: {finding.control_verdict}",
                markup=False,
            )
    for model in report.models:
        out.print()
        show_model(model, out)
    for effect in report.calibrations:
        out.print(Padding(prose(calibration_line(effect)), (1, 0, 0, 0)))
    for solved in report.evaluations:
        out.print(Padding(prose(solved_line(solved)), (1, 0, 0, 0)))
    if report.reused is not None:
        out.print(Padding(prose(reused_line(report)), (1, 0, 0, 0)))


def show_summary(rows: Sequence[SummaryRow], out: Console, title: str) -> None:
    """Print the one table: a row for each model and lens."""
    name, lens, *others = HEADINGS
    found = Table(
        title=title,
        title_justify="left",
        box=box.HORIZONTALS,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_lines=True,
    )
    for heading in (f"{name} and {lens}", *others):
        # Only the next step is wrapped; the others are as narrow as their answers and intervals.
        found.add_column(heading, no_wrap=heading != others[-1])
    for row in rows:
        found.add_row(
            Text("\n".join((*broken(row.model, NAME), f"{lens_kind(row.lens)} lens"))),
            coloured(row.guarantee, row.guarantee.brief),
            coloured(row.answer, row.answer.brief),
            Text(NONE if row.difference is None else below(interval(row.difference, signed=True))),
            Text(row.next_step),
        )
    out.print(found, soft_wrap=False)


def below(written: str) -> str:
    """Put an interval below its estimate."""
    return written.replace(f"{GAP}[", "\n[")


def broken(name: str, width: int) -> list[str]:
    """Break a name into lines, after hyphens and the like where there are any."""
    words = re.findall(r"[^-_/ ]*[-_/ ]?", name)
    lines = [""]
    for part in (word[i : i + width] for word in words for i in range(0, len(word), width)):
        if len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return lines


def coloured(status: str, words: str) -> Text:
    """Return the words in the colour of the status."""
    return Text(words, style=COLOURS[TONES[status]])


def calibration_line(effect: CalibrationEffect) -> str:
    """Say in a sentence what the calibrated lens changes."""
    return (
        f"{effect.model}, {effect.lens} lens in place of the raw one: the search minus "
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


def reused_line(report: Report) -> str:
    """Say what was not computed now, and how to have it computed."""
    assert report.reused is not None
    origin = report.reused.origin
    return (
        f"Stored with the package, not computed now: {report.reused.what} ({origin.date[:10]}, "
        f"commit {origin.commit[:10]}). --fresh computes everything."
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
        out.print(Padding(prose(sentence(why)), (0, 0, 0, 4)))
    rows = Table.grid(padding=(0, 2))
    rows.add_column()
    rows.add_column(no_wrap=True)
    for found in verdict.deciding:
        rows.add_row(Text(found.label), Text(found.text))
    out.print(Padding(rows, (0, 0, 0, 4)))
    for line in verdict.explanation:
        out.print(Padding(prose(f"- {line}"), (0, 0, 0, 4)))
