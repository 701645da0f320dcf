"""`.. room:: stopping.rules`: a room of the house by its public names, read and not imported.

As nothing is imported, a book that is built without torch has the pages of what needs it, and a
default stands as it is written (`K=WINDOW`, not a number). `_tools/public_names.py` says which
names are public.
"""

import ast
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from docstrings import keep_formulas
from docutils import nodes
from docutils.statemachine import StringList
from reruns import note
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import NumpyDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

sys.path.append(str(Path(__file__).parents[1] / "_tools"))

from public_names import (
    Name,
    constructor,
    decorators,
    file_of,
    front_door,
    modules_of,
    names_of,
    parsed,
    resolve,
    rooms,
    signature,
)


class Room(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        (room,) = self.arguments
        lines: list[str] = []
        found = names_of(room)
        self.depend_on(room)
        for module in dict.fromkeys((room, *found)):
            if module != room:
                lines += ["", module, "-" * len(module)]
            lines += ["", f".. py:module:: {module}", ""]
            lines += self.docstring("module", module, ast.get_docstring(parsed(module)) or "")
            for name in found.get(module, ()):
                lines += ["", *self.entry(name)]
        container = nodes.section()
        container.document = self.state.document
        self.state.nested_parse(StringList(lines, source=room), 0, container, match_titles=True)
        return container.children

    def depend_on(self, *rooms: str) -> None:
        """Have the page read again when a module of these rooms changes, comes or goes."""
        own = {file_of(module) for room in rooms for module in modules_of(room)}
        names = [n for room in rooms for names in names_of(room).values() for n in names]
        note(self.env, own | {file.parent for file in own} | {file_of(n.module) for n in names})

    def entry(self, name: Name) -> list[str]:
        full, node = f"{name.home}.{name.name}", name.node
        if isinstance(node, ast.FunctionDef):
            return self.block("function", full, signature(node), name.doc)
        if not isinstance(node, ast.ClassDef):
            return self.block("data", full, "", name.doc)
        lines = self.block("class", full, constructor(node), name.doc)
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef) and inner.name[0] != "_":
                lines += ["", *(f"   {line}" for line in self.member(full, inner))]
        return lines

    def member(self, owner: str, node: ast.FunctionDef) -> list[str]:
        doc, kinds = ast.get_docstring(node) or "", decorators(node)
        if not doc or "overload" in kinds:
            return []
        if kinds & {"property", "cached_property"}:
            return self.block("property", f"{owner}.{node.name}", "", doc)
        static = "staticmethod" in kinds
        kind = "classmethod" if "classmethod" in kinds else "staticmethod" if static else "method"
        return self.block(kind, f"{owner}.{node.name}", signature(node, not static), doc)

    def block(self, kind: str, full: str, arguments: str, doc: str) -> list[str]:
        shown = full.rpartition(".")[2]
        if kind in ("property", "method", "classmethod", "staticmethod"):
            shown = ".".join(full.split(".")[-2:])
        head = f".. py:{kind}:: {shown}{arguments}"
        return [head, "", *(f"   {line}" for line in self.docstring(kind, full, doc)), ""]

    def docstring(self, kind: str, full: str, doc: str) -> list[str]:
        lines = keep_formulas(doc.splitlines())
        return NumpyDocstring(lines, self.config, self.env.app, kind, full).lines()


class FrontDoor(Room):
    """`{front-door} stopping`: the names that a package offers at its root, each with its line."""

    def run(self) -> list[nodes.Node]:
        (package,) = self.arguments
        note(self.env, [file_of(package)])
        self.depend_on(*rooms())
        homes = {
            (name.module, name.name): f"{name.home}.{name.name}"
            for room in rooms()
            for names in names_of(room).values()
            for name in names
        }
        lines = [f".. list-table:: ``import {package}``", "   :widths: 1 2", ""]
        for name, module in sorted(front_door(package).items()):
            found = resolve(module, name)
            assert found is not None, f"{package}.{name}: {module} does not have it"
            first = found.doc.partition("\n")[0]
            target = homes[found.module, found.name]
            lines += [f"   * - :py:obj:`{package}.{name} <{target}>`", f"     - {first}"]
        container = nodes.section()
        container.document = self.state.document
        self.state.nested_parse(StringList(lines, source=package), 0, container)
        return container.children


def source_of(app: Sphinx, module: str) -> tuple[str, dict[str, tuple[str, int, int]]]:
    """Return a module's text and where its definitions are, for the links to sources."""
    return tagged(module)


@cache
def tagged(module: str) -> tuple[str, dict[str, tuple[str, int, int]]]:
    code = file_of(module).read_text("utf-8")
    return code, ModuleAnalyzer.for_string(code, module).find_tags()


def note_read(app: Sphinx, env: BuildEnvironment, pages: list[str]) -> None:
    app.read_now = set(pages)


def leave_unread(app: Sphinx) -> Iterable[Any]:
    """Keep the written sources of modules of which no page was read: viewcode would write all."""
    modules = getattr(app.env, "_viewcode_modules", {})
    for module, entry in modules.items():
        page = Path(app.outdir, "_modules", *module.split(".")).with_suffix(".html")
        if entry and page.is_file() and app.read_now.isdisjoint(entry[2].values()):
            modules[module] = False
    return ()


def defined_in(app: Sphinx, module: str, attribute: str) -> str:
    """Return the module that defines what is documented under a room's name."""
    found = resolve(module, attribute.partition(".")[0])
    return found.module if found else module


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("sphinx.ext.napoleon")
    app.setup_extension("sphinx.ext.viewcode")
    app.add_directive("room", Room)
    app.add_directive("front-door", FrontDoor)
    app.connect("env-before-read-docs", note_read)
    app.connect("html-collect-pages", leave_unread, priority=400)  # before viewcode
    app.connect("viewcode-find-source", source_of)
    app.connect("viewcode-follow-imported", defined_in)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
