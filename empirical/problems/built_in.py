"""The built-in problems: one file of 4,000, among which a seed chooses.

The file holds two sets of 2,000 different prompts. In both, the place in the set fixes difficulty,
family and template, round and round, so that every beginning of a set is balanced to within one
problem over difficulties, and over families at each difficulty. Even seeds choose from the first
set and odd seeds from the second: what is fitted with seed 1 is never asked again with seed 0.
Seeds 0 and 1 take their set in the file's order; other seeds mix it within each kind of place.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files

from empirical.problems.problem import Problem, template_group
from stopping.errors import UserError

DIFFICULTIES = (1, 2, 3, 4)
SETS = 2


def draw_problems(
    n: int, seed: int = 0, difficulties: Sequence[int] = DIFFICULTIES
) -> tuple[Problem, ...]:
    """Choose `n` problems with different prompts.

    Parameters
    ----------
    n : how many, at least 1; at most 2,000, or 500 for each difficulty. More begin with fewer.
    seed : not negative; the same seed gives the same problems. Seeds of which one is even and one
        odd have no problem in common.
    difficulties : the ones to use, among 1 to 4.

    Raises
    ------
    UserError
        If an argument is out of its range.
    """
    if n < 1:
        raise UserError(f"number of problems: {n} is too small; ask for 1 or more")
    if seed < 0:
        raise UserError(f"seed: {seed} is negative; use 0 or more")
    levels = set(difficulties)
    if not levels or not levels <= set(DIFFICULTIES):
        raise UserError(f"difficulties: {tuple(difficulties)} should be some of {DIFFICULTIES}")
    found = tuple(p for p in _in_order(seed) if p.difficulty in levels)
    if n > len(found):
        raise UserError(
            f"number of problems: {n} is more than the {len(found)} that are built in for these "
            "difficulties; ask for fewer, or write your own into a file for --prompts"
        )
    return found[:n]


def all_built_in() -> tuple[Problem, ...]:
    """Return every built-in problem, of both sets."""
    return tuple(problem for half in _sets() for problem in half)


def _in_order(seed: int) -> tuple[Problem, ...]:
    """Return the seed's set, mixed among problems of one template and difficulty."""
    turn, number = divmod(seed, SETS)
    problems = _sets()[number]
    if turn == 0:
        return problems
    kinds = defaultdict(list)
    for problem in problems:
        kinds[problem.template, problem.difficulty].append(problem)
    # Digests in place of a generator: no version of a library can change who comes when.
    mixed = {
        kind: iter(sorted(found, key=lambda p: sha256(f"{seed} {p.id}".encode()).digest()))
        for kind, found in kinds.items()
    }
    return tuple(next(mixed[problem.template, problem.difficulty]) for problem in problems)


@cache
def _sets() -> tuple[tuple[Problem, ...], ...]:
    packed = files("empirical.data").joinpath("problems.jsonl.gz").read_bytes()
    rows = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    problems = tuple(
        Problem(
            solution=row.pop("reference"),
            group=template_group(row["family"], row["template"]),
            **row,
        )
        for row in rows
    )
    size = len(problems) // SETS
    return tuple(problems[number * size : (number + 1) * size] for number in range(SETS))
