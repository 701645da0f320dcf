"""A whole evaluation: model, problems and rules in, their comparison with plain decoding out.

Its file is `Evaluation` and nothing else, under the format's name and version. JSON has no NaN, so
an end of an interval that could not be computed is null.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from empirical.evaluation.answers import Answer
from empirical.evaluation.comparison import ERROR, RuleResult, Sequential, compare
from empirical.evaluation.runner import PLAIN, Arm, Report, Settings, order_of, run_arms
from empirical.evaluation.sequential import anytime
from empirical.model.load import LoadedModel
from empirical.problems import Problem
from empirical.provenance import Provenance
from stopping.errors import UserError
from stopping.support.documents import Format
from stopping.support.results import Report as Printed
from stopping.support.results import Result
from stopping.support.statistics import Interval, clopper_pearson

if TYPE_CHECKING:
    from empirical.decoding.custom import AbstractDecoder
    from stopping.rules import AbstractRule


FORMAT = Format(
    "layer-stopping evaluation", 2, "evaluation", "make one with `stopping evaluate --out`"
)


@dataclass(frozen=True)
class Evaluation(Result):
    """What came out.

    Attributes
    ----------
    problems : tuple
        Id, difficulty and right answer of each problem that was asked.
    plain_accuracy : Interval
        Share of problems solved by plain decoding, with the exact binomial interval.
    plain_ended : float
        Share of plain texts that came to their end before the limit.
    rules : tuple of RuleResult
        Each rule against plain decoding.
    answers : dict
        By the rule's spec (and `plain`), the answer given to each problem, None where none was.
    """

    provenance: Provenance
    settings: Settings
    problems: tuple[tuple[str, int, str], ...]
    plain_accuracy: Interval
    plain_ended: float
    plain_length: float
    rules: tuple[RuleResult, ...]
    answers: dict[str, tuple[str | None, ...]]

    def items(self) -> tuple[RuleResult, ...]:
        """Rules."""
        return self.rules

    def report(self) -> Printed:
        """Tables and a summary."""
        from empirical.evaluation.tables import report

        return report(self)


def read_evaluation(path: Path) -> Evaluation:
    """Read what `FORMAT.write` wrote.

    Raises
    ------
    UserError
        If the file is missing, no evaluation, of a newer format, or incomplete.
    """
    return FORMAT.load(path, Evaluation)


def evaluate(
    loaded: LoadedModel,
    problems: Sequence[Problem],
    rules: Sequence["AbstractRule | AbstractDecoder"],
    settings: Settings,
    *,
    lens: Path | None = None,
    out: Path | None = None,
    fresh: bool = False,
    problems_seed: int | None = None,
    command: str = "",
    report: Report = lambda done, total: None,
) -> Evaluation:
    """Answer the problems plainly and under each rule, and compare.

    Parameters and errors are those of `run_arms`.

    Raises
    ------
    UserError
        If a rule is given twice.
    """
    specs = [rule.spec() for rule in rules]
    if doubled := sorted({spec for spec in specs if specs.count(spec) > 1}):
        raise UserError(f"rules: {', '.join(doubled)} given more than once")
    arms = {PLAIN: Arm(None, settings)} | {rule.spec(): Arm(rule, settings) for rule in rules}

    def decided(answers: Mapping[str, Sequence[Answer]]) -> bool:
        if not settings.until_decided:
            return False
        plain = [answer.correct for answer in answers[PLAIN]]
        offered = len(problems)
        return all(
            anytime([a.correct for a in answers[spec]], plain, len(specs), offered, ERROR).p_value
            < ERROR
            for spec in specs
        )

    answered = run_arms(
        loaded, problems, arms, settings, lens=lens, out=out, fresh=fresh,
        problems_seed=problems_seed, command=command, report=report, suffices=decided,
    )  # fmt: skip
    return _evaluation(problems, rules, answered.answers, answered.provenance, settings)


def _evaluation(
    problems: Sequence[Problem],
    rules: Sequence["AbstractRule | AbstractDecoder"],
    answers: dict[str, list[Answer]],
    provenance: Provenance,
    settings: Settings,
) -> Evaluation:
    plain = answers[PLAIN]
    order, offered = order_of(problems, settings), len(problems)
    problems = [problems[answer.problem] for answer in plain]
    named = {(rule.name, rule.spec()): answers[rule.spec()] for rule in rules}
    return Evaluation(
        provenance=provenance,
        settings=settings,
        problems=tuple((p.id, p.difficulty, p.answer) for p in problems),
        plain_accuracy=clopper_pearson(sum(a.correct for a in plain), len(plain)),
        plain_ended=float(np.mean([a.ended for a in plain])),
        plain_length=float(np.mean([a.tokens for a in plain])),
        rules=compare(
            problems,
            plain,
            named,
            settings.seed,
            sequential=Sequential(order, offered) if settings.until_decided else None,
        ),
        answers={arm: tuple(a.given for a in given) for arm, given in answers.items()},
    )
