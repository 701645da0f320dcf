"""The sources of the book against the registry of claims; the built pages are tests/book's."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from stopping.figures.theme import PALETTE

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


def test_the_style_sheet_has_the_palette_of_the_figures() -> None:
    sheet = (BOOK / "_static" / "book.css").read_text("utf-8")
    light, dark = (sheet.split(start, 1)[1].split("}")[0] for start in (":root {", '"dark"] {'))
    for name, colour in PALETTE.items():
        assert f"--{name}: {colour.light};" in light
        assert f"--{name}: {colour.dark};" in dark


def test_rules_that_ask_for_classes_in_use_are_kept(light: dict[str, Any]) -> None:
    sheet = (
        "/* a.b{} */@charset 'x';a{b:c}.used,.idle>a{b:c}.idle{b:c}a:not(.idle){b:c}"
        "@media print{.idle{b:c}.used .used{b:c}}@keyframes k{from{b:c}50%{b:c}to{b:c}}"
    )
    assert light["cut_styles"](sheet, {"used"}) == (
        "@charset 'x';a{b:c}.used{b:c}a:not(.idle){b:c}"
        "@media print{.used .used{b:c}}@keyframes k{from{b:c}50%{b:c}to{b:c}}"
    )


def test_files_of_what_a_page_has_not_are_not_loaded(light: dict[str, Any]) -> None:
    loads = '<script src="../_static/explorer.js?v=1"></script>'
    assert light["cut_files"](f"<p>no explorer</p>{loads}") == "<p>no explorer</p>"
    shown = f'<div class="explorer"></div>{loads}'
    assert light["cut_files"](shown) == shown
    theirs = '<link rel="stylesheet" href="_static/sphinx-design.min.css" />'
    assert light["cut_files"](f'<a class="a sd-b"></a>{theirs}').endswith(theirs)
    assert light["cut_files"](f'<a class="sd"></a>{theirs}') == '<a class="sd"></a>'


@pytest.fixture
def light() -> dict[str, Any]:
    return runpy.run_path(str(BOOK / "_ext" / "light.py"))
