"""From a model's text to right or wrong.

A model that is not tuned for chat may run on after its answer and pose itself the next problem. So
a text counts up to the end of the first line that says "the answer is ..."; a text without such a
line counts as a whole. What counts is then read as `empirical.problems` reads any text: the stated
answer, else the last boxed one, else the last number. A text that was cut off before it came to an
answer is read in the same way, and is nearly always wrong. All rules are read alike.
"""

import re
from dataclasses import dataclass

from empirical.evaluation.trail import Trail
from empirical.problems import Problem, extract_answer, is_correct

# An empty or unspoken answer ("the answer is:" and a new line) does not end the text.
_STATEMENT = re.compile(r"\bthe (?:\w+ )?answer is\b[^\n]*\w[^\n]*", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """What a model wrote about one problem, and what became of it.

    Attributes
    ----------
    problem : int
        Index of the problem.
    given : str or None
        The answer found in the text, None where there is none.
    tokens : int
        Number of tokens whose characters are in the text: an end of text is none.
    ended : bool
        Whether the text came to its end before the limit.
    moved, substituted : int
        Tokens taken from an earlier layer, and tokens that are not the final layer's.
    trail : Trail or None
        What the decoder did at each token; None for plain decoding.
    """

    problem: int
    text: str
    given: str | None
    correct: bool
    tokens: int
    ended: bool
    moved: int = 0
    substituted: int = 0
    trail: Trail | None = None


def stated_part(text: str) -> str:
    """Return the text up to the end of the first line that states the answer."""
    found = _STATEMENT.search(text)
    return text[: found.end()] if found else text


def judge(
    index: int,
    problem: Problem,
    text: str,
    *,
    tokens: int,
    ended: bool,
    moved: int = 0,
    substituted: int = 0,
    trail: Trail | None = None,
) -> Answer:
    """Read one text."""
    part = stated_part(text)
    return Answer(
        problem=index,
        text=text,
        given=extract_answer(part),
        correct=is_correct(problem, part),
        tokens=tokens,
        ended=ended,
        moved=moved,
        substituted=substituted,
        trail=trail,
    )
