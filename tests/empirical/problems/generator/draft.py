"""What a template is: a pure function from a random generator and a difficulty to a draft.

Difficulty is graded by the number of steps that the worked solution takes, one per line:

========== ================
difficulty steps
========== ================
1          1 or 2
2          2 or 3
3          3 or 4
4          5 or more
========== ================

In every template the number of steps rises strictly with the difficulty, and so do the sizes from
which the numbers are drawn (`size`, `few`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")

STEPS = {1: (1, 2), 2: (2, 3), 3: (3, 4), 4: (5, 12)}
"""Fewest and most steps of a solution, by difficulty."""

_SIZES = {1: (3, 9), 2: (6, 20), 3: (12, 45), 4: (25, 95)}
_FEW = {1: (2, 4), 2: (2, 6), 3: (3, 8), 4: (4, 12)}


@dataclass(frozen=True)
class Draft:
    """A problem before it is given its place in a set.

    Attributes
    ----------
    prompt : the question, ending in a question mark.
    steps : the worked solution, one full sentence each.
    answer : canonical, as `answers.canonical` would leave it.
    stated : the answer as the last line words it, where that differs ("$3.50" for "3.5").
    """

    prompt: str
    steps: tuple[str, ...]
    answer: str
    stated: str = ""

    @property
    def solution(self) -> str:
        """The steps, one a line, and the line `The answer is ...`."""
        return "\n".join((*self.steps, f"The answer is {self.stated or self.answer}."))


@dataclass(frozen=True)
class Template:
    """A named way of writing problems: `write(rng, difficulty)`."""

    family: str
    name: str
    write: Callable[[np.random.Generator, int], Draft]


def whole(rng: np.random.Generator, low: int, high: int) -> int:
    """Draw an integer in `low..high`, both included."""
    return int(rng.integers(low, high + 1))


def size(rng: np.random.Generator, difficulty: int) -> int:
    """Draw a quantity of things, larger for harder problems."""
    return whole(rng, *_SIZES[difficulty])


def few(rng: np.random.Generator, difficulty: int) -> int:
    """Draw a factor (boxes, days, times as many), larger for harder problems."""
    return whole(rng, *_FEW[difficulty])


def choice(rng: np.random.Generator, items: Sequence[T]) -> T:
    """Draw one item."""
    return items[int(rng.integers(len(items)))]


def several(rng: np.random.Generator, items: Sequence[T], count: int) -> tuple[T, ...]:
    """Draw `count` different items, in random order."""
    return tuple(items[int(i)] for i in rng.permutation(len(items))[:count])
