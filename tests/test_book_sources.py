"""The sources of the book against the registry of claims; the built pages are tests/book's."""

import runpy
from pathlib import Path
from typing import Any

import pytest

BOOK = Path(__file__).parents[1] / "book"
WITH_PROOF = ":::{prf:theorem} x\n:label: thm:T1\n:::\n\n:::{prf:proof}\ny\n:::\n"


@pytest.fixture
def check() -> dict[str, Any]:
    return runpy.run_path(str(BOOK / "check.py"))


def test_theorems_of_the_book_are_those_of_the_registry(check: dict[str, Any]) -> None:
    assert list(check["labels"]()) == []


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (WITH_PROOF, "no theorem block with the label thm:T2"),
        (WITH_PROOF.replace("T1", "T99"), "the theorem thm:T99 has no claim"),
        (WITH_PROOF.replace("prf:proof", "prf:remark"), "theorem thm:T1 has no proof block"),
    ],
)
def test_what_is_missing_is_named(
    page: str, fault: str, check: dict[str, Any], tmp_path: Path
) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "some.md").write_text(page)
    labels = check["labels"]
    labels.__globals__["BOOK"] = tmp_path
    assert any(fault in found for found in labels())
