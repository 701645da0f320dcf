"""The answers of several rules against those of plain decoding, on the same problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empirical.analysis.validate import Comparison
from empirical.evaluation.answers import Answer
from empirical.evaluation.paired import Paired, paired
from empirical.evaluation.sequential import Anytime, anytime
from empirical.intervals import bonferroni
from empirical.problems import Problem
from stopping.errors import UserError
from stopping.support.statistics import Interval, cluster_bootstrap

ERROR = 0.05


@dataclass(frozen=True)
class Sequential:
    """Problems were answered in this order, out of so many, and no more than was needed."""

    order: Sequence[int]
    offered: int


@dataclass(frozen=True)
class Group:
    """The comparison among the problems of one difficulty, 0 being unknown; not adjusted."""

    difficulty: int
    measures: Paired


@dataclass(frozen=True)
class RuleResult:
    """One rule against plain decoding.

    Attributes
    ----------
    p_adjusted : float
        The exact test's p-value times the number of rules compared, at most 1; that of `anytime`
        where the comparison stopped once decided.
    comparison : Comparison
        Better or worse if `p_adjusted` is below 5 % and, unless the comparison stopped once
        decided, the difference's interval lies beyond zero; else undecided.
    moved, substituted : Interval
        Shares of all tokens taken from an earlier layer, and of tokens other than the final
        layer's; 95 % over problems.
    changed : int
        Problems whose text is not that of plain decoding.
    length, longer : Interval
        Mean tokens per text, and how many more than in plain decoding; 95 % over problems.
    anytime : Anytime, optional
        The comparison that may be looked at after every batch. Intervals are those of a number of
        problems fixed beforehand, and flatter a comparison that stopped early.
    """

    name: str
    spec: str
    overall: Paired
    p_adjusted: float
    comparison: Comparison
    moved: Interval
    substituted: Interval
    changed: int
    length: Interval
    longer: Interval
    by_difficulty: tuple[Group, ...]
    anytime: Anytime | None = None


def compare(
    problems: Sequence[Problem],
    plain: Sequence[Answer],
    answers: Mapping[tuple[str, str], Sequence[Answer]],
    seed: int = 0,
    replicates: int = 2000,
    sequential: Sequential | None = None,
) -> tuple[RuleResult, ...]:
    """Compare the answers of each rule with the plain ones.

    Parameters
    ----------
    answers : mapping
        Answers by (name, spec) of the rule, each sequence in the order of `problems`, as `plain`.
    seed, replicates : int
        Of the bootstrap over problems.
    sequential : Sequential, optional
        How problems were answered, if no more of them were than a decision needed.

    Raises
    ------
    UserError
        If there are fewer than two problems.
    """
    if len(problems) < 2:
        raise UserError("evaluate: intervals over problems need at least two; give more problems")
    return tuple(
        _result(name, spec, problems, plain, given, len(answers), seed, replicates, sequential)
        for (name, spec), given in answers.items()
    )


def _result(
    name: str,
    spec: str,
    problems: Sequence[Problem],
    plain: Sequence[Answer],
    answers: Sequence[Answer],
    rules: int,
    seed: int,
    replicates: int,
    sequential: Sequential | None,
) -> RuleResult:
    solved = np.array([answer.correct for answer in answers])
    solved_plainly = np.array([answer.correct for answer in plain])
    groups = groups_of(problems)
    score = scored(problems, solved, solved_plainly, rules)
    p_adjusted, looked = score.p_adjusted, None
    if sequential is not None:
        place = {problem: turn for turn, problem in enumerate(sequential.order)}
        turns = np.argsort([place[answer.problem] for answer in plain])
        looked = anytime(solved[turns], solved_plainly[turns], rules, sequential.offered, ERROR)
        p_adjusted = looked.p_value
    columns = [
        [a.moved, a.substituted, a.tokens, b.tokens] for a, b in zip(answers, plain, strict=True)
    ]
    means = cluster_bootstrap(columns, resampled(groups), seed, replicates)
    return RuleResult(
        name=name,
        spec=spec,
        overall=score.overall,
        p_adjusted=p_adjusted,
        comparison=decided(p_adjusted, score.overall, looked is not None),
        moved=means.ratio(0, 2),
        substituted=means.ratio(1, 2),
        changed=sum(a.text != b.text for a, b in zip(answers, plain, strict=True)),
        length=means.interval(2),
        longer=means.difference(2, 3),
        by_difficulty=score.by_difficulty,
        anytime=looked,
    )


@dataclass(frozen=True)
class Score:
    """What follows from who solved what: a rule, one of several, against plain decoding."""

    overall: Paired
    p_adjusted: float
    by_difficulty: tuple[Group, ...]


def scored(
    problems: Sequence[Problem],
    solved: NDArray[np.bool_],
    solved_plainly: NDArray[np.bool_],
    rules: int,
) -> Score:
    """Compare who solved what, adjusted for the number of rules; in the order of `problems`."""
    groups = groups_of(problems)
    overall = paired(solved, solved_plainly, bonferroni(rules, ERROR), groups)
    difficulty = np.array([problem.difficulty for problem in problems])
    by_difficulty = tuple(
        Group(int(level), paired(solved[here], solved_plainly[here], groups=groups[here]))
        for level in np.unique(difficulty)
        for here in [difficulty == level]
    )
    return Score(overall, min(1.0, rules * overall.p_value), by_difficulty)


def groups_of(problems: Sequence[Problem]) -> NDArray[np.str_]:
    """Label each problem with its group; one without a group stands for itself."""
    return np.array([p.group or f"\n{i}" for i, p in enumerate(problems)])


def resampled(groups: NDArray[np.str_]) -> NDArray[Any]:
    """Label what a bootstrap draws: whole groups, or single problems where all are of one group."""
    return groups if len(set(groups)) > 1 else np.arange(len(groups))


def decided(p_adjusted: float, overall: Paired, stopped: bool = False) -> Comparison:
    """Say whether a rule is better or worse than plain decoding; `stopped` once that was known."""
    if p_adjusted >= ERROR or not (stopped or overall.difference.excludes_zero):
        return Comparison.UNDECIDED
    return Comparison.BETTER if overall.fixed > overall.regressed else Comparison.WORSE
