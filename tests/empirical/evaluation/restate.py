"""Verdicts of an earlier evaluation by this version's method, from the answers that it kept.

python -m tests.empirical.evaluation.restate FILE...   rewrites evaluations of built-in problems

An evaluation keeps every answer, and who solved what decides better and worse: no model is run.
Tokens are not kept, so the intervals of lengths and of what the rules moved stay as they were.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from empirical.evaluation.comparison import decided, scored
from empirical.evaluation.run import FORMAT, Evaluation, read_evaluation
from empirical.evaluation.runner import PLAIN
from empirical.problems import Problem, is_correct
from empirical.problems.built_in import all_built_in
from stopping.errors import UserError


def restated(stored: Evaluation, problems: Sequence[Problem]) -> Evaluation:
    """Compare the answers of a stored evaluation again.

    Parameters
    ----------
    problems : sequence of Problem
        Those that were asked, in any order, and maybe others: they tell the groups. Right answers
        are those that the evaluation keeps.

    Raises
    ------
    UserError
        If a problem is missing, or the comparison stopped once decided.
    """
    if stored.settings.until_decided:
        raise UserError("restate: this evaluation stopped once decided; its verdicts are final")
    known = {problem.id: problem for problem in problems}
    if missing := [name for name, *_ in stored.problems if name not in known]:
        raise UserError(
            f"restate: {len(missing)} of the problems asked are not among those given, the first "
            f"is {missing[0]}; give the problems of this evaluation"
        )
    asked = [replace(known[name], answer=answer) for name, _, answer in stored.problems]
    solved = {
        arm: np.array([_right(p, given) for p, given in zip(asked, answers, strict=True)])
        for arm, answers in stored.answers.items()
    }
    rules = []
    for rule in stored.rules:
        score = scored(asked, solved[rule.spec], solved[PLAIN], len(stored.rules))
        comparison = decided(score.p_adjusted, score.overall)
        rules.append(replace(rule, comparison=comparison, **vars(score)))
    return replace(stored, rules=tuple(rules))


def _right(problem: Problem, given: str | None) -> bool:
    """Whether a kept answer, which was read from its text before, is the right one."""
    return given is not None and is_correct(problem, f"The answer is {given}")


def main(paths: Sequence[str]) -> None:
    """Rewrite files."""
    for path in map(Path, paths):
        FORMAT.write(path, restated(read_evaluation(path), all_built_in()))


if __name__ == "__main__":
    main(sys.argv[1:])
