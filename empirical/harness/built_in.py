"""The package's own problems as a task of the harness."""

from dataclasses import asdict
from typing import Any

from datasets import Dataset

from empirical.evaluate import judge
from empirical.problems import Problem, generate


def dataset(n: int = 100, seed: int = 0, **other: Any) -> dict[str, Any]:
    """Draw the problems; `other` is whatever else the harness knows of the task."""
    return {"test": Dataset.from_list([asdict(problem) for problem in generate(n, seed)])}


def grade(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Grade one text as `stopping evaluate` does, 1 or 0."""
    problem = Problem(**doc)
    answer = judge(0, problem, results[0], tokens=0, ended=True)
    return {"exact_match": float(answer.correct)}
