"""The package's own problems as tasks of the harness: written answers, choices, perplexity."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from datasets import Dataset

from empirical.evaluation import judge
from empirical.problems import Problem, draw_problems

CHOICES = 4


def dataset(n: int = 100, seed: int = 0, **other: Any) -> dict[str, Any]:
    """Draw the problems; `other` is whatever else the harness knows of the task."""
    problems = draw_problems(n, seed)
    rows = [
        {**asdict(problem), **choices(problems, index)} for index, problem in enumerate(problems)
    ]
    return {"test": Dataset.from_list(rows)}


def choices(problems: Sequence[Problem], index: int) -> dict[str, Any]:
    """Answers to choose from: the right one among those of the next problems of the family."""
    right = problems[index]
    others = [*problems[index + 1 :], *problems[:index]]
    wrong = dict.fromkeys(
        p.answer for p in others if p.family == right.family and p.answer != right.answer
    )
    place = index % CHOICES
    found = list(wrong)[: CHOICES - 1]
    found.insert(place, right.answer)
    return {"choices": found, "gold": found.index(right.answer)}


def grade(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Grade one text as `stopping evaluate` does, 1 or 0."""
    problem = Problem(**{name: doc[name] for name in Problem.__dataclass_fields__})
    answer = judge(0, problem, results[0], tokens=0, ended=True)
    return {"exact_match": float(answer.correct)}
