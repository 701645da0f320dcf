"""Which words the search replaces: how often, of which kind, by which others.

A token is *substituted* where the most probable token of the decoded layer is not the final
layer's. Words are sorted by what they are to a reader: *content* (words outside the closed classes
of English, parts of such words, numbers), *function* (the closed classes), *punctuation*, and
*other* (white space, special tokens, signs that are neither letters nor punctuation). A piece of
a word counts as the word that it looks like.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from empirical.evaluation.trail import Trail
from empirical.intervals import mean, prompt_intervals
from empirical.studies.paper.words import CONTRACTIONS, FUNCTION_WORDS
from stopping.errors import UserError
from stopping.support.statistics import Interval

_EXAMPLES = 8
_AROUND = "'\"()[]{}.,;:!?"


class Category(StrEnum):
    """What a token is to a reader."""

    CONTENT = "content"
    FUNCTION = "function"
    PUNCTUATION = "punctuation"
    OTHER = "other"


CATEGORIES = tuple(Category)


@dataclass(frozen=True)
class OfCategory:
    """Tokens whose final-layer token is of one category.

    `share` is their share of all tokens, `substituted` how many of them are replaced, `of_all`
    their share of all replaced tokens; intervals over problems. `by[i]` counts replacements by a
    token of category `CATEGORIES[i]`.
    """

    category: Category
    tokens: int
    share: Interval
    substituted: Interval
    of_all: Interval
    by: tuple[int, ...]


@dataclass(frozen=True)
class Exchange:
    """A pair of words: the final layer's, the one decoded instead, and how often."""

    final: str
    decoded: str
    count: int


@dataclass(frozen=True)
class Substitutions:
    """Replaced tokens of one decoder."""

    tokens: int
    rate: Interval
    categories: tuple[OfCategory, ...]
    most_frequent: tuple[Exchange, ...]


def category(text: str) -> Category:
    """Sort the text of one token."""
    word = text.strip().replace("’", "'")
    if word.lower() in CONTRACTIONS or word.lower().strip(_AROUND) in FUNCTION_WORDS:
        return Category.FUNCTION
    # Special tokens such as <|im_end|> are no words.
    if word.startswith("<") and word.endswith(">") and len(word) > 2:
        return Category.OTHER
    if any(character.isalnum() for character in word):
        return Category.CONTENT
    if word and all(unicodedata.category(character).startswith("P") for character in word):
        return Category.PUNCTUATION
    return Category.OTHER


def substitutions(
    trails: Sequence[Trail],
    text_of: Callable[[int], str],
    seed: int = 0,
    replicates: int = 1000,
) -> Substitutions:
    """Sort the replaced tokens of one decoder.

    Parameters
    ----------
    trails : sequence of Trail
        One for each problem.
    text_of : callable
        Text of a token id.

    Raises
    ------
    UserError
        If fewer than two texts have a token.
    """
    if sum(len(trail) > 0 for trail in trails) < 2:
        raise UserError("substitutions: intervals need tokens of at least two problems")
    problem = np.concatenate([np.full(len(trail), i) for i, trail in enumerate(trails)])
    final = np.concatenate([trail.final_token for trail in trails if len(trail)])
    decoded = np.concatenate([trail.token for trail in trails if len(trail)])
    kinds = {int(w): category(text_of(int(w))) for w in np.unique([final, decoded])}
    of_final = np.array([kinds[int(word)] for word in final])
    of_decoded = np.array([kinds[int(word)] for word in decoded])
    replaced = final != decoded
    ratios = {"rate": mean(replaced)}
    for kind in CATEGORIES:
        here = of_final == kind
        ratios[f"share {kind}"] = mean(here)
        ratios[f"substituted {kind}"] = mean(replaced, here)
        ratios[f"of all {kind}"] = mean(here, replaced)
    found = prompt_intervals(ratios, problem, seed, replicates)
    pairs = Counter(zip(final[replaced].tolist(), decoded[replaced].tolist(), strict=True))
    return Substitutions(
        tokens=len(final),
        rate=found["rate"],
        categories=tuple(
            OfCategory(
                category=kind,
                tokens=int((of_final == kind).sum()),
                share=found[f"share {kind}"],
                substituted=found[f"substituted {kind}"],
                of_all=found[f"of all {kind}"],
                by=tuple(
                    int((replaced & (of_final == kind) & (of_decoded == other)).sum())
                    for other in CATEGORIES
                ),
            )
            for kind in CATEGORIES
        ),
        most_frequent=tuple(
            Exchange(text_of(a), text_of(b), times)
            for (a, b), times in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[
                :_EXAMPLES
            ]
        ),
    )
