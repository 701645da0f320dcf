"""A model and problems in, the paper's tables out; what was answered once is not answered again."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from empirical.analysis.audit.tokens import SearchedTokens, statistics_of
from empirical.evaluation import Answer, Group, paired
from empirical.evaluation.comparison import groups_of, resampled
from empirical.evaluation.runner import PLAIN, Report, Settings, require_answers, run_arms
from empirical.evaluation.trail import Trail
from empirical.model.load import LoadedModel
from empirical.problems import Problem
from empirical.studies.paper.difficulty import QUARTERS, difficulty
from empirical.studies.paper.plan import Plan, PlannedArm, planned
from empirical.studies.paper.results import ArmResult, Contrast, ModelResult
from empirical.studies.paper.substitutions import substitutions
from stopping.errors import UserError
from stopping.support.statistics import clopper_pearson, cluster_bootstrap
from stopping.types import BoolArray

REPLICATES = 1000


def run_model(
    loaded: LoadedModel,
    problems: Sequence[Problem],
    plan: Plan,
    settings: Settings,
    *,
    out: Path,
    fresh: bool = False,
    command: str = "",
    problems_seed: int | None = None,
    report: Report = lambda done, total: None,
) -> ModelResult:
    """Answer the problems under every arm of the plan, and tabulate.

    Parameters
    ----------
    out
        File of the results; finished batches are kept beside it.

    Raises
    ------
    UserError
        If there are too few problems, one has no answer or does not fit, or `out` belongs to a run
        with other settings.
    """
    require_problems(problems)
    arms = planned(plan, settings)
    answered = run_arms(
        loaded, problems, {arm.key: arm.arm for arm in arms}, settings, out=out, fresh=fresh,
        problems_seed=problems_seed, command=command, report=report,
    )  # fmt: skip
    answers = answered.answers
    search = next(arm for arm in arms if arm.baseline is not None)
    trails = [answer.trail or Trail() for answer in answers[search.key]]

    @cache
    def text_of(token: int) -> str:
        text: str = loaded.tokenizer.decode([token])
        return text

    solved = {key: _solved(given) for key, given in answers.items()}
    groups = groups_of(problems)
    levels = np.array([problem.difficulty for problem in problems])
    compared = [arm for arm in arms if arm.baseline is not None]
    samples = [solved[arm.key] for arm in arms if arm.section == "difficulty"]
    return ModelResult(
        provenance=answered.provenance,
        settings=settings,
        plan=plan,
        problems=len(problems),
        plain=clopper_pearson(int(solved[PLAIN].sum()), len(problems)),
        ended=float(np.mean([answer.ended for answer in answers[PLAIN]])),
        arms=tuple(
            _arm_result(arm, answers, groups, len(compared), settings.seed) for arm in compared
        ),
        tokens=statistics_of(searched_tokens(trails), plan.K, settings.seed, REPLICATES),
        substitutions=substitutions(trails, text_of, settings.seed, REPLICATES),
        by_level=tuple(
            Group(
                int(level),
                paired(solved[search.key][here], solved[PLAIN][here], groups=groups[here]),
            )
            for level in np.unique(levels)
            for here in [levels == level]
        ),
        difficulty=difficulty(solved[search.key], solved[PLAIN], samples, settings.seed, groups)
        if samples
        else None,
        solved=tuple(
            (bool(a), bool(b)) for a, b in zip(solved[PLAIN], solved[search.key], strict=True)
        ),
    )


def require_problems(problems: Sequence[Problem]) -> None:
    """Raise a UserError unless every problem has an answer and there are enough of them."""
    if len(problems) < QUARTERS:
        raise UserError(f"paper: needs at least {QUARTERS} problems, got {len(problems)}")
    require_answers(problems)


def contrast(
    first: ModelResult, second: ModelResult, problems: Sequence[Problem], seed: int
) -> Contrast:
    """Compare the gains of the search in two models that answered the same `problems`.

    Raises
    ------
    UserError
        If they answered different ones.
    """
    if first.provenance.prompts_hash != second.provenance.prompts_hash:
        raise UserError("contrast: the two models answered different problems")
    a, b = np.array(first.solved, dtype=float), np.array(second.solved, dtype=float)
    gains = np.column_stack([a[:, 1] - a[:, 0], b[:, 1] - b[:, 0]])
    means = cluster_bootstrap(gains, resampled(groups_of(problems)), seed, 4000)
    return Contrast(first.provenance.model, second.provenance.model, means.difference(0, 1))


def searched_tokens(trails: Sequence[Trail]) -> SearchedTokens:
    """Gather the tokens of the search's texts.

    Raises
    ------
    UserError
        If fewer than two texts have a token.
    """
    if sum(len(trail) > 0 for trail in trails) < 2:
        raise UserError(
            "paper: the search wrote tokens for fewer than two problems, so there is nothing to "
            "count; does the prompt end with the end of a text?"
        )

    def column(name: str) -> np.ndarray:
        return np.concatenate([np.asarray(getattr(t, name)) for t in trails if len(t)])

    return SearchedTokens(
        prompt=np.concatenate(
            [np.full(len(t), i, dtype=np.int32) for i, t in enumerate(trails) if len(t)]
        ),
        position=np.concatenate([np.arange(len(t), dtype=np.int32) for t in trails if len(t)]),
        last=column("last"),
        before=column("before"),
        valley=column("chosen"),
        depth=column("depth").astype(np.intp),
        changed=column("token") != column("final_token"),
    )


def _solved(answers: Sequence[Answer]) -> BoolArray:
    return np.array([answer.correct for answer in answers], dtype=np.bool_)


def _arm_result(
    arm: PlannedArm,
    answers: Mapping[str, Sequence[Answer]],
    groups: NDArray[np.str_],
    comparisons: int,
    seed: int,
) -> ArmResult:
    assert arm.baseline is not None
    given = answers[arm.key]
    overall = paired(_solved(given), _solved(answers[arm.baseline]), groups=groups)
    means = cluster_bootstrap(
        [[a.moved, a.substituted, a.tokens] for a in given], resampled(groups), seed, REPLICATES
    )
    return ArmResult(
        name=arm.name,
        spec=arm.key if arm.arm.rule is None else arm.arm.rule.spec(),
        section=arm.section,
        temperature=arm.arm.settings.temperature,
        overall=overall,
        p_adjusted=min(1.0, comparisons * overall.p_value),
        moved=means.ratio(0, 2),
        substituted=means.ratio(1, 2),
        length=float(means.estimate[2]),
    )
