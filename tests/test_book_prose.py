"""No measured number of the book's prose is typed by hand: it comes from a cell, by its name.

What may stand there: levels and settings that define what is done (each in `DEFINED`, with the
words around it), what other papers print, and pages that state the terms of a test or a stored run.
"""

import re
from pathlib import Path

import pytest

BOOK = Path(__file__).parents[1] / "book"
NUMBER = re.compile(r"(?<![\w.:])(?:\d+\.\d+|\d[\d,]*\s?%|\d+ (?:nats|points|ms|GB|tokens))(?!\w)")
NOT_PROSE = re.compile(
    r"\A---.*?^---\n|^```.*?^```|<!-- table.*?<!-- end of table -->|^:::\{admonition\}.*?^:::"
    r"|\]\([^)]*\)|\$\$.*?\$\$|\$[^$]+\$|`[^`]*`",
    re.MULTILINE | re.DOTALL,
)

DEFINED: dict[str, tuple[str, ...]] = {
    "about": ("Apache License 2.0",),
    "best-rule": (
        "at 0.02 nats a projection",
        "95 % intervals",
        "at 5 % for all rules of a row",
        "together, at 5 %",
        "probability 0.8 at the two-sided 5 % level",
        "a gain of 0.05 nats",
        "One of 0.005 nats",
    ),
    "bounds": ("rises of 2.4",),
    "calibration": ("Intervals are at 95 %",),
    "field-evaluation": (
        "version 0.4.13",
        "penalty of 1.2",
        "from 1.1 to 23.5 %",
        "from 97.0 to 92.7 %",
    ),
    "fitting": (
        "share an error of 5 %",
        "with correlation 0.7",
        "below the 95 % point",
    ),
    "index": ("Python 3.11",),
    "ledger": ("0.16 to 1.38 million tokens",),
    "optimal-tables": (
        "rate 5 %, dividend 10 %, volatility 20 %",
        "Published: 95 % intervals",
        "A bracket below 1.5 %",
        "fitted model at 0.02 nats",
    ),
    "optimal-stopping": ("a projection at 0.05 nats",),
    "paper-tables": ("Intervals at 95 %",),
    "performance": (
        "floor of at most 2.4 and 1.7",
        "Aimed at were 1.25 times",
        "and 1.7 and 2.5 times",
        "Aimed at were 0.75",
        "and 1.35 for",
        "where 1.5 layers",
    ),
    "positive-control": (
        "12 nats for each unit",
        "noise of 0.25 nats",
        "allows a share of 98 %",
    ),
    "pools": ("at 95 % for all five comparisons",),
    "rule": ("reports 0.116 extra",),
    "serving": (
        "With 0.32 start",
        "with vLLM 0.32",
        "reads the first 16 tokens",
        "off by up to 0.03 nats",
    ),
    "signing": (
        "three tests, at an error of 0.1",
        "confseq 0.0.11",
        "MAPIE 1.6.0",
        "with an error of 5 % for all of them",
    ),
    "validation": ("more than 0.001 nats",),
    "verdicts": (
        "| 5 % for all comparisons",
        "log-loss of less than 0.001 nats",
        "| 5 % for all rules",
        "| 5 % for each word and assumption",
        "errs with a probability of 5 %",
        "cannot show that less than 5 % of the tokens do",
        "contradict A1 and A2, 5 % of those that put A3",
        "and 5 % fall on below the window",
        "a gap of less than 0.05 nats",
        "a share of less than 5 % of the tokens",
        "an excess of less than 0.1 nats",
        "own gap is not above 0.05 nats",
        "nine tokens in ten is below 0.1 nats",
        "exact 95 % interval",
        "exactly 0.05 nats too much",
        "exactly 5 % of the tokens",
    ),
    "verification": ("made 10 % smaller",),
}
"""Phrases in which a number is a definition, a setting, a version, an aim or another's finding."""


def typed(text: str, allowed: tuple[str, ...]) -> list[str]:
    """Return the numbers of a page's prose that no allowed phrase holds."""
    prose = " ".join(NOT_PROSE.sub(" ", text).split())
    for phrase in allowed:
        prose = prose.replace(phrase, " ")
    return [prose[max(0, m.start() - 40) : m.end() + 20] for m in NUMBER.finditer(prose)]


@pytest.mark.parametrize(
    "page", [*sorted((BOOK / "pages").glob("*.md")), BOOK / "index.md"], ids=lambda page: page.stem
)
def test_no_number_is_typed_by_hand(page: Path) -> None:
    assert typed(page.read_text("utf-8"), DEFINED.get(page.stem, ())) == []


@pytest.mark.parametrize(
    "text", ["It loses 0.31 nats.", "On 67 % of the tokens.", "Of 300 tokens."]
)
def test_a_typed_number_would_be_noticed(text: str) -> None:
    assert typed(text, ()) != []


def test_a_number_of_a_cell_or_formula_is_none() -> None:
    assert typed("Lost: {glue:}`lost` nats, below $0.15$.\n```\n0.3\n```\n", ()) == []


def test_no_allowance_is_idle() -> None:
    for page, allowed in DEFINED.items():
        path = BOOK / "index.md" if page == "index" else BOOK / "pages" / f"{page}.md"
        prose = " ".join(NOT_PROSE.sub(" ", path.read_text("utf-8")).split())
        assert [phrase for phrase in allowed if phrase not in prose] == []
