"""The registry of templates, and sets of problems drawn from it.

Problem `i` of a set is drawn from its own stream, `SeedSequence(seed, spawn_key=(i, attempt))`, so
that it does not depend on how many problems are asked for: `generate(100)` begins with
`generate(10)`. An `attempt` after the first is made only where an earlier problem of the set has
the same prompt. The index alone fixes difficulty, family and template, round and round, so that
every set is balanced to within one problem over difficulties and over families at each difficulty.
"""

from collections.abc import Sequence

import numpy as np

from empirical.problems import ages, arithmetic, change, logic, rates
from empirical.problems.draft import Draft, Template
from empirical.problems.problem import Problem
from stopping.errors import UserError

DIFFICULTIES = (1, 2, 3, 4)
FAMILIES: dict[str, tuple[Template, ...]] = {
    "arithmetic": arithmetic.TEMPLATES,
    "rates": rates.TEMPLATES,
    "ages": ages.TEMPLATES,
    "change": change.TEMPLATES,
    "logic": logic.TEMPLATES,
}
ATTEMPTS = 1000


def generate(
    n: int, seed: int = 0, difficulties: Sequence[int] = DIFFICULTIES
) -> tuple[Problem, ...]:
    """Draw `n` problems with different prompts.

    Parameters
    ----------
    n : how many, at least 1.
    seed : not negative; the same seed gives the same problems.
    difficulties : the ones to use, among 1 to 4.

    Raises
    ------
    UserError
        If an argument is out of its range, or no new prompt can be found (not before tens of
        thousands of problems).
    """
    if n < 1:
        raise UserError(f"number of problems: {n} is too small; ask for 1 or more")
    if seed < 0:
        raise UserError(f"seed: {seed} is negative; use 0 or more")
    levels = sorted(set(difficulties))
    if not levels or not set(levels) <= set(DIFFICULTIES):
        raise UserError(f"difficulties: {tuple(difficulties)} should be some of {DIFFICULTIES}")
    seen: set[str] = set()
    return tuple(_problem(index, seed, levels, seen) for index in range(n))


def _problem(index: int, seed: int, levels: Sequence[int], seen: set[str]) -> Problem:
    difficulty, template = _place(index, levels)
    draft = _unseen(template, difficulty, index, seed, seen)
    seen.add(draft.prompt)
    return Problem(
        id=f"{template.family}/{template.name}/{difficulty}/{index:06d}",
        family=template.family,
        template=template.name,
        difficulty=difficulty,
        prompt=draft.prompt,
        solution=draft.solution,
        answer=draft.answer,
    )


def _place(index: int, levels: Sequence[int]) -> tuple[int, Template]:
    index, level = divmod(index, len(levels))
    index, family = divmod(index, len(FAMILIES))
    templates = tuple(FAMILIES.values())[family]
    return levels[level], templates[index % len(templates)]


def _unseen(template: Template, difficulty: int, index: int, seed: int, seen: set[str]) -> Draft:
    for attempt in range(ATTEMPTS):
        stream = np.random.SeedSequence(seed, spawn_key=(index, attempt))
        draft = template.write(np.random.default_rng(stream), difficulty)
        if draft.prompt not in seen:
            return draft
    raise UserError(
        f"{template.family}/{template.name} at difficulty {difficulty}: no new prompt for problem "
        f"{index} in {ATTEMPTS} attempts; ask for fewer problems or more difficulties"
    )
