"""The field's words: one name for one thing, in sources, help texts, JSON keys and the book.

An old word of `FORBIDDEN` may stand only where `ALLOWED` says why. Patterns are of the word in the
sense that was replaced, so that the ordinary word (a price, a reading of an argument) stays free.
Help texts are made from the sources.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = {".py", ".md", ".rst", ".j2", ".js", ".html", ".toml", ".yml", ".css"}
ROOTS = ("stopping", "empirical", "book", "tests", "benchmarks", "README.md", "CONTRIBUTING.md")

FORBIDDEN = (
    (r"\bdear(er|est)?\b", "the dear ones take fewer draws", "expensive"),
    (
        r"\brid(es?|ing|ers?|den) (free|along)\b|\briders\b",
        "the candidate rides free",
        "piggybacked; costs nothing while ...",
    ),
    (r"(?i)\bknobs?\b|_knob\b|knob_", "the knob `p`", "mixing probability p"),
    (
        r"(?i)\bcoins?\b|\btoss(es|ed|ing)?\b",
        "a rule that tosses a coin",
        "randomised rule, Bernoulli draw, deterministic rule",
    ),
    (r"(?i)\btwins?\b|_twin\b|\btwin_", "twin_verdict", "negative control"),
    (r"(?i)\breckon(s|ed|ing)?\b", "it reckons with noise", "computes, assumes"),
    (
        r"(?i)\bprobes?\b|_probes?\b|\bprobed\b",
        "rule.probes(x)",
        "lens evaluation, projection; traced layer",
    ),
    (r"\breadings\b", "it steps to lower readings", "observed entropies, projections"),
    (
        r"(?i)\b(masked|likeliest|probable) words?\b|vocabulary of \S+ words",
        "masked words are -inf",
        "tokens, vocabulary entries",
    ),
    (
        r"(?i)\b(stopping|exact|flat|turning)[ _]law\b|StoppingLaw|law of the (stopping )?layer",
        "the exact law",
        "distribution",
    ),
    (
        r"(?i)\b(model's|and|own) tail and\b|\bshell of (a|the) model\b",
        "through the model's tail and head",
        "final norm; headless copy",
    ),
    (
        r"\b(log-loss|accuracy|entropy)(, search)? less (the )?(final|entropy|plain)|less plain\b",
        "log-loss less entropy",
        "minus",
    ),
    (r"\bmended\b|\bmends\b|\bmend (it|the)\b", "mended / broken", "fixed; wrong -> right"),
    (
        r"(?i)\bshort climb\b|\bcarried on\b|\bclimbs?\b",
        "the best are carried on",
        "optimise, warm start, continue; rise",
    ),
    (r"(?i)\boverreach|\boversteps?\b|\boverstepp", "never oversteps", "overshoot"),
    (
        r"\b(shaken|wild|attacked)_worlds\b",
        "shaken_worlds(rng, n)",
        "independent, unstructured, adversarial worlds",
    ),
    (
        r"\brestless\b|\bfavourites?\b",
        "favourite: search",
        "plug-in without margin, best in sample",
    ),
    (
        r"\b(Board|Ahead|Places)\b(?=\(|:| import|\))",
        "class Board:",
        "BlockState, Prefetched, Positions",
    ),
    (
        r"\bregret_(bound|gap|curve|beyond)|\bRegretCurve\b|\bT[25]\.regret\b|\bREGRET\b",
        "stopping.regret_bound(0.3)",
        "excess; the regret is of log-loss, above the oracle layer",
    ),
    (r"\bPriced\b|\bblind plan\b", "the best blind plan", "comparison of rules, open-loop plan"),
    (
        r"\bTrouble\b|\bspoils\b|\bhand_over\b|\btaken_back\b",
        "except Trouble",
        "CallError, mutates_input, to_framework, to_numpy",
    ),
    (r"\bnoise departures\b|noise_departures", "noise_departures.py", "misspecified noise"),
    (r"\bgoes on where (it|they)\b", "goes on where it was", "resumes"),
    (r"\blast[ -]layer\b|\blast_layer\b", "last-layer entropy", "final layer"),
    (r"(?i)\b(the|a|this|noisy) walk (of|ends|back|is|stops)\b", "the walk ends there", "search"),
    (
        r"(?i)Being minimax is little|can hold no more|Shall I switch|machine in its midst",
        "Shall I switch it on?",
        "plain sentences",
    ),
    (
        r"(?i)drawn at one go|more are a blot|and its like|asks them of your",
        "drawn at one go",
        "plain sentences",
    ),
)
"""Pattern, an example that it finds, and what to write instead."""

OWN = "this test"
ALLOWED = {
    "tests/test_words.py": (".", OWN),
    "CHANGELOG.md": (".", "what earlier versions were called"),
    "empirical/problems/": (".", "problems are about people and things"),
    "tests/empirical/problems/": (".", "problems are about people and things"),
    "empirical/evaluation/harness/records/": (".", "records of the tasks' own shape"),
    "empirical/evaluation/paired.py": ("mended", "fields of files of version 1, which are read"),
    "tests/empirical/evaluation/test_evaluate.py": ("mended", "fields of files of version 1"),
    "empirical/capture/run.py": ("probed", "a key of unfinished runs, which resume"),
    "empirical/analysis/audit/means.py": ("last_layer", "a column of published tables"),
    "tests/empirical/analysis/test_means.py": ("last_layer", "a column of published tables"),
    "empirical/commands/audit_means.py": ("last_layer", "a column of published tables"),
    "empirical/lenses/files.py": ("tail", "part of the hash that lens files carry"),
    "book/pages/calibration.md": ("coin", "an outcome that is a fair coin"),
    "empirical/analysis/phases.py": ("(?i)last layer of the", "the last of the layers of a phase"),
    "tests/conformance/test_interface.py": ("Probe", "a user's class"),
}


def files(*endings: str) -> Iterator[tuple[str, str]]:
    """Names and contents of the project's own files with these endings."""
    for top in ROOTS:
        for path in [ROOT / top] if (ROOT / top).is_file() else sorted((ROOT / top).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in endings and not re.search(r"(^|/)(_build|\.)", name):
                yield name, path.read_text("utf-8")


def allowed(name: str, found: str) -> bool:
    """Whether a file may hold a word that was found in it."""
    return any(
        name.startswith(start) and re.search(what, found) for start, (what, _) in ALLOWED.items()
    )


def old_words(name: str, text: str) -> list[str]:
    """Return each old word of a text with its line and what to write instead."""
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}, write: {instead}"
        for pattern, _, instead in FORBIDDEN
        for match in re.finditer(pattern, text)
        if not allowed(name, text[match.start() : match.end() + 12])
    ]


@pytest.mark.parametrize(("pattern", "example"), [row[:2] for row in FORBIDDEN])
def test_an_old_word_is_found(pattern: str, example: str) -> None:
    assert re.search(pattern, example)
    assert old_words("stopping/new.py", f"# {example}\n")


@pytest.mark.slow
def test_sources_help_texts_and_book() -> None:
    found = [line for name, text in files(*TEXTS) for line in old_words(name, text)]
    assert not found, "\n".join(found)


def test_keys_of_stored_json() -> None:
    found = [
        line
        for name, text in files(".json")
        for line in old_words(name, "\n".join(sorted(keys(json.loads(text)))))
    ]
    assert not found, "\n".join(found)


def test_per_cent_in_the_terminal_has_no_space() -> None:
    """As in `12.3%`; prose and pages write `12.3 %`."""
    for name, text in files(".py"):
        if name.startswith(("stopping/cli/", "stopping/claims/", "empirical/commands/")):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.JoinedStr):
                    assert "} %" not in ast.unparse(node), f"{name}:{node.lineno}"
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    shown = not node.value.endswith((".", "\n")) and "\n" not in node.value
                    assert not (shown and re.search(r"\d %", node.value)), f"{name}:{node.lineno}"


def keys(value: Any) -> set[str]:
    """All keys of a document, at any depth."""
    if isinstance(value, dict):
        return set(value).union(*(keys(v) for v in value.values())) if value else set()
    return set().union(*map(keys, value)) if isinstance(value, list) else set()
