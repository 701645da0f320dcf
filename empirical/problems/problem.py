"""A problem, and the fingerprint of a set of problems."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """A question with a worked solution.

    Attributes
    ----------
    id : unique within its set; of the form `rates/filling/3/000123` for generated problems.
    family, template : what kind of problem it is.
    difficulty : 1 (one or two steps) to 4 (five or more); 0 where it is not known.
    prompt : the question.
    solution : the reference completion; its last line states the answer.
    answer : canonical (see `empirical.problems.answers`); empty where it is not known.
    group : what problems that are no independent draws have in common: a template, a document, a
        user; empty where each stands for itself. Whole groups are what intervals resample.
    """

    id: str
    family: str
    template: str
    difficulty: int
    prompt: str
    solution: str
    answer: str
    group: str = ""


def template_group(family: str, template: str) -> str:
    """Return the group of the problems of one template."""
    return f"{family}/{template}"


def prompts_hash(problems: Sequence[Problem]) -> str:
    """SHA-256, in hexadecimal, of the ids, prompts and solutions in their order.

    It goes into the provenance of traces: equal hashes mean that a model was asked the same.
    """
    rows = [[problem.id, problem.prompt, problem.solution] for problem in problems]
    canonical = json.dumps(rows, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
