"""Words shared by the templates: people, things, plurals, money, lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tests.empirical.problems.generator.draft import several


@dataclass(frozen=True)
class Person:
    """A name with its pronouns: she/her/her or he/him/his."""

    name: str
    they: str
    them: str
    their: str

    @property
    def They(self) -> str:
        """The pronoun at the start of a sentence."""
        return self.they.capitalize()


@dataclass(frozen=True)
class Noun:
    """A thing that is counted."""

    one: str
    many: str


def nouns(*words: str) -> tuple[Noun, ...]:
    """Nouns from singulars; an irregular plural follows a slash: `"shelf/shelves"`."""
    pairs = (word.partition("/") for word in words)
    return tuple(Noun(one, many or one + "s") for one, _, many in pairs)


_SHE = (
    "Ada Aisha Alma Bella Chloe Dina Elena Farah Grace Hana Ines Julia Kira Leila Maria Mei Nadia "
    "Nora Olga Priya Rosa Sofia Tara Uma Vera Wanda Yara Zoe"
)
_HE = (
    "Adam Amir Ben Carlos Daniel Diego Emil Felix George Hassan Ivan Jonas Kofi Leo Luca Marco "
    "Nils Omar Pavel Quentin Ravi Samuel Tariq Theo Viktor Walter Yusuf Zach"
)
PEOPLE = tuple(Person(name, "she", "her", "her") for name in _SHE.split()) + tuple(
    Person(name, "he", "him", "his") for name in _HE.split()
)

_NUMERALS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
)  # fmt: skip
_ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh")


def people(rng: np.random.Generator, count: int) -> tuple[Person, ...]:
    """Draw `count` different people."""
    return several(rng, PEOPLE, count)


def counted(number: int, noun: Noun) -> str:
    """`1 apple`, `12 apples`."""
    return f"{number} {noun.one if number == 1 else noun.many}"


def an(word: str) -> str:
    """The word with its indefinite article."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def capital(text: str) -> str:
    """The text with a capital first letter, the rest untouched."""
    return text[:1].upper() + text[1:]


def joined(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def numeral(number: int) -> str:
    """A small number in words, as prose prefers it: `three`."""
    return _NUMERALS[number] if number < len(_NUMERALS) else str(number)


def ordinal(number: int) -> str:
    """`first`, `second`, ..., `seventh`."""
    return _ORDINALS[number]


def times(factor: int) -> str:
    """`twice`, `3 times`."""
    return "twice" if factor == 2 else f"{factor} times"


def fraction(value: Fraction | int) -> str:
    """`5/12` in lowest terms, or an integer."""
    return str(Fraction(value))


def money(cents: int) -> str:
    """`$3`, `$3.50`."""
    dollars, rest = divmod(cents, 100)
    return f"${dollars}.{rest:02d}" if rest else f"${dollars}"


def amount(cents: int) -> str:
    """The canonical decimal of an amount of money, in dollars: `3`, `3.5`, `3.25`."""
    return money(cents)[1:].rstrip("0") if cents % 100 else str(cents // 100)
