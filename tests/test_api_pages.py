"""The book has a page for each room, and what it says of a name is what the package has."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from book._tools.public_names import constructor, front_door, names_of, resolve, rooms, signature

PAGES = Path(__file__).parents[1] / "book" / "pages" / "api"
TABLE = PAGES.parents[1] / "_toc.yml"
REFERENCE = re.compile(r"\{(?:class|func|mod|data)\}`~?([\w.]+)`")


@pytest.mark.slow
def test_every_room_that_offers_something_has_a_page() -> None:
    assert sorted(page.stem for page in PAGES.glob("*.rst")) == sorted(rooms())
    for room in rooms():
        assert f".. room:: {room}\n" in (PAGES / f"{room}.rst").read_text("utf-8")
        assert f"- file: pages/api/{room}\n" in TABLE.read_text("utf-8")


@pytest.mark.parametrize("package", ["stopping", "empirical"])
def test_every_name_of_the_front_door_is_on_a_page(package: str) -> None:
    shown = {
        (name.module, name.name)
        for room in rooms()
        for names in names_of(room).values()
        for name in names
    }
    for name, home in front_door(package).items():
        found = resolve(home, name)
        assert found is not None
        assert (found.module, found.name) in shown, name


def test_what_the_pages_refer_to_is_on_a_page() -> None:
    found = [
        (module, name)
        for room in rooms()
        for module, names in names_of(room).items()
        for name in names
    ]
    shown = {f"{name.home}.{name.name}" for _, name in found} | {module for module, _ in found}
    pages = (page.read_text("utf-8") for page in PAGES.parent.glob("*.md"))
    asked = {target for page in pages for target in REFERENCE.findall(page)}
    assert asked
    assert asked <= shown


def test_what_is_read_is_what_can_be_imported() -> None:
    """The rooms of the theory need nothing beside the base installation."""
    for room in ("stopping.rules", "stopping.theory", "stopping.model", "stopping.claims"):
        for module, names in names_of(room).items():
            for name in names:
                found = getattr(importlib.import_module(module), name.name)
                if name.node.__class__.__name__ in ("FunctionDef", "ClassDef"):
                    assert inspect.getdoc(found) == name.doc


def test_a_default_stands_as_it_is_written() -> None:
    search = resolve("stopping.rules", "Search")
    audit = resolve("empirical.analysis.audit", "audit")
    assert search is not None
    assert audit is not None
    assert isinstance(search.node, ast.ClassDef)
    assert isinstance(audit.node, ast.FunctionDef)
    assert constructor(search.node) == "(K=10, p=1.0)"
    assert "materiality=MATERIALITY" in signature(audit.node)
