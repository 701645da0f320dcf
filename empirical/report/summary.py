"""The one table of the first screen: a row for each model and lens, from guarantee to next step."""

from collections.abc import Sequence
from dataclasses import dataclass

from empirical.analysis.validate import Validation
from empirical.report.verdict import SEARCH, Answer, Guarantee, ModelVerdict, lens_kind
from stopping.support.statistics import Interval

HEADINGS = (
    "model",
    "lens",
    "guarantee",
    "switch on?",
    "search minus\nfinal, nats",
    "next step",
)


@dataclass(frozen=True)
class SummaryRow:
    """One model through one lens.

    Attributes
    ----------
    guarantee, answer
        See `ModelVerdict`.
    rule : str or None
        Spec of the rule to switch on, where the answer is yes.
    difference : Interval or None
        Log-loss of the search minus the final layer's, nats, at the level adjusted for the number
        of rules compared; None without reference answers.
    next_step : str
        What to do now.
    """

    model: str
    lens: str
    guarantee: Guarantee
    answer: Answer
    rule: str | None
    difference: Interval | None
    next_step: str


def summary_row(
    model: str,
    lens: str,
    verdict: ModelVerdict,
    validation: Validation | None,
    lenses: Sequence[str],
) -> SummaryRow:
    """Summarise one model; `lenses` are all those through which this report reads it."""
    return SummaryRow(
        model=model,
        lens=lens,
        guarantee=verdict.guarantee,
        answer=verdict.answer,
        rule=verdict.rule,
        difference=None if validation is None else validation[SEARCH].overall.log_loss_vs_final,
        next_step=next_step(verdict, validation, lens, lenses),
    )


def next_step(
    verdict: ModelVerdict, validation: Validation | None, lens: str, lenses: Sequence[str]
) -> str:
    """Say what to do now."""
    if validation is None or verdict.answer is Answer.CANNOT_SAY:
        return "trace reference answers: stopping trace --mode reference"
    if verdict.rule is not None:
        name = validation[verdict.rule].name
        return f"use {name}, once problems confirm it: stopping evaluate"
    if lens_kind(lens) != "raw":
        return "leave it off"
    others = [lens_kind(other) for other in lenses if other != lens]
    if others:
        return f"leave it off; see the {others[0]} lens"
    return "leave it off, or calibrate the lens: stopping lens fit"


def all_yes(rows: Sequence[SummaryRow]) -> bool:
    """Whether every model may switch it on: what `--check` asks."""
    return all(row.answer is Answer.YES for row in rows)
