"""Where the built-in problems come from: templates, and sets of problems drawn from them.

A template is a pure function that draws the quantities of a small world, tells it as a story, and
works out the answer step by step; `draft` says what a difficulty means. The package carries what
is drawn here, 2,000 problems with seed 0 and 2,000 with seed 1; after a change of a template

    python -m tests.empirical.problems.generator

writes the file anew, and all that was measured on the old problems has to be measured again.

Problem `i` of a set is drawn from its own stream, `SeedSequence(seed, spawn_key=(i, attempt))`, so
that it does not depend on how many problems are asked for. An `attempt` after the first is made
only where an earlier problem, of either set, has the same prompt. The index alone fixes difficulty,
family and template, round and round.
"""

import numpy as np

from empirical.problems import DIFFICULTIES, Problem, to_jsonl
from empirical.problems.built_in import SETS
from tests.empirical.problems.generator import ages, arithmetic, change, logic, rates
from tests.empirical.problems.generator.draft import Draft, Template

FILE = "problems.jsonl.gz"
SIZE = 2000
FAMILIES: dict[str, tuple[Template, ...]] = {
    "arithmetic": arithmetic.TEMPLATES,
    "rates": rates.TEMPLATES,
    "ages": ages.TEMPLATES,
    "change": change.TEMPLATES,
    "logic": logic.TEMPLATES,
}
ATTEMPTS = 1000


def text() -> str:
    """What the package's file holds: two sets without a prompt in common, as JSON Lines."""
    seen: set[str] = set()
    return "".join(to_jsonl(generate(SIZE, seed, seen)) for seed in range(SETS))


def generate(n: int, seed: int, seen: set[str]) -> tuple[Problem, ...]:
    """Draw `n` problems whose prompts are not among those `seen`, and add them to these."""
    return tuple(_problem(index, seed, seen) for index in range(n))


def _problem(index: int, seed: int, seen: set[str]) -> Problem:
    difficulty, template = _place(index)
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
        group=f"{template.family}/{template.name}",
    )


def _place(index: int) -> tuple[int, Template]:
    index, level = divmod(index, len(DIFFICULTIES))
    index, family = divmod(index, len(FAMILIES))
    templates = tuple(FAMILIES.values())[family]
    return DIFFICULTIES[level], templates[index % len(templates)]


def _unseen(template: Template, difficulty: int, index: int, seed: int, seen: set[str]) -> Draft:
    for attempt in range(ATTEMPTS):
        stream = np.random.SeedSequence(seed, spawn_key=(index, attempt))
        draft = template.write(np.random.default_rng(stream), difficulty)
        if draft.prompt not in seen:
            return draft
    raise RuntimeError(
        f"{template.family}/{template.name} at difficulty {difficulty}: no new prompt for problem "
        f"{index} in {ATTEMPTS} attempts"
    )
