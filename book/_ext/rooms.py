"""`.. room:: stopping.rules`: a room of the house by its public names, read and not imported.

What a package offers is in its text: the names of `__all__`, and those of the front door whose home
is in the room; a module of the theory without `__all__` offers all that has a docstring and no
underscore. As nothing is imported, a book that is built without torch has the pages of what needs
it, and a default stands as it is written (`K=WINDOW`, not a number).
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Any

from docstrings import keep_formulas
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.ext.napoleon import NumpyDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
SHOWN_WHOLE = (
    *("stopping.theory", "stopping.model", "stopping.simulation", "stopping.changepoint.recovery"),
    *(f"stopping.optimal.{name}" for name in ("classics", "control", "diagram", "published")),
    *(f"stopping.support.{name}" for name in ("betting", "parallel", "statistics")),
)
"""Rooms and modules of pure functions, which are their own public face."""
INSIDES = ("stopping.cli", "stopping.support.store", "empirical.serving.internals")


@dataclass(frozen=True)
class Name:
    """A public name: where it is imported from, and where it is defined."""

    home: str
    name: str
    module: str
    node: Definition
    doc: str


def file_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def parsed(module: str) -> ast.Module:
    return ast.parse(file_of(module).read_text("utf-8"))


def modules_of(room: str) -> list[str]:
    """Return a room and all modules below it that have no underscore."""
    path = ROOT.joinpath(*room.split("."))
    if path.with_suffix(".py").is_file():
        return [room]
    below = (file.relative_to(ROOT).with_suffix("") for file in sorted(path.rglob("*.py")))
    names = (".".join(part for part in file.parts if part != "__init__") for file in below)
    return [name for name in names if not any(part.startswith("_") for part in name.split("."))]


def offered(tree: ast.Module) -> list[str] | None:
    """Return a module's `__all__`, None if it has none that is written down."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and _target(node) == "__all__":
            try:
                return list(ast.literal_eval(node.value))
            except ValueError:
                return None
    return None


def front_door(package: str) -> dict[str, str]:
    """Return the names of a package's front door and the modules where they are."""
    for node in parsed(package).body:
        if isinstance(node, ast.Assign) and _target(node) == "_HOMES":
            homes: dict[str, str] = ast.literal_eval(node.value)
            return homes
    return {}


def names_of(room: str) -> dict[str, list[Name]]:
    """Return the public names of a room by module."""
    found: dict[str, list[Name]] = {}
    package = room.partition(".")[0]
    doors = front_door(package)
    whole: list[str] = []
    for module in modules_of(room):
        if module.startswith((*INSIDES, *(f"{package}." for package in whole))):
            continue
        tree = parsed(module)
        names = offered(tree)
        if names is not None and module != room:
            whole.append(module)  # a package within the room shows what it offers, no deeper
        if names is None and module.startswith(SHOWN_WHOLE):
            names = [name for name, node in _definitions(tree) if _doc(tree, node)]
        seen = {name.name for list_ in found.values() for name in list_}
        names = [
            *(names or ()),
            *(n for n, home in doors.items() if home == module and n not in seen),
        ]
        resolved = [resolve(module, name) for name in dict.fromkeys(names)]
        if kept := [name for name in resolved if name is not None and name.doc]:
            found[module] = kept
    return found


def resolve(home: str, name: str, module: str | None = None) -> Name | None:
    """Follow imports to where a name is defined."""
    module = module or home
    tree = parsed(module)
    for defined, node in _definitions(tree):
        if defined == name:
            return Name(home, name, module, node, _doc(tree, node))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name and file_of(node.module).is_file():
                    return resolve(home, alias.name, node.module)
    return None


def _target(node: Definition) -> str:
    if isinstance(node, ast.Assign):
        return node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""
    if isinstance(node, ast.AnnAssign):
        return node.target.id if isinstance(node.target, ast.Name) else ""
    return node.name


def _definitions(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, Definition]]:
    for node in tree.body:
        if isinstance(node, Definition) and (name := _target(node)) and not name.startswith("_"):
            yield name, node


def _doc(tree: ast.Module, node: Definition) -> str:
    """Return a docstring; that of a constant is the string after it."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return ast.get_docstring(node) or ""
    after = tree.body[tree.body.index(node) + 1 :][:1]
    if after and isinstance(after[0], ast.Expr) and isinstance(after[0].value, ast.Constant):
        return cleandoc(str(after[0].value.value))
    return ""


def signature(node: ast.FunctionDef, bound: bool = False) -> str:
    """Return the arguments as they are written, without types, which stand in the docstring."""
    arguments = ast.parse(ast.unparse(node)).body[0].args  # type: ignore[attr-defined]
    if bound:
        del (arguments.posonlyargs or arguments.args)[:1]
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    for argument in (*every, arguments.vararg, arguments.kwarg):
        if argument is not None:
            argument.annotation = None
    return f"({ast.unparse(arguments)})"


def decorators(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    return {ast.unparse(d).partition("(")[0].rpartition(".")[2] for d in node.decorator_list}


def constructor(node: ast.ClassDef) -> str:
    """Return a class's signature: the fields of a dataclass, or what `__init__` takes."""
    if "dataclass" in decorators(node):
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and _target(n)[:1] != "_"]
        fields = [n for n in fields if "ClassVar" not in ast.unparse(n.annotation)]
        return f"({', '.join(_field(n) for n in fields)})"
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            return signature(inner, bound=True)
    return ""


def _field(node: ast.AnnAssign) -> str:
    if node.value is None:
        return _target(node)
    value = ast.unparse(node.value)
    return f"{_target(node)}={'...' if value.startswith('field(') else value}"


class Room(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        (room,) = self.arguments
        lines: list[str] = []
        found = names_of(room)
        for module in dict.fromkeys((room, *found)):
            self.env.note_dependency(str(file_of(module)))
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
        self.env.note_dependency(str(file_of(package)))
        lines = [f".. list-table:: ``import {package}``", "   :widths: 1 2", ""]
        for name, module in sorted(front_door(package).items()):
            found = resolve(module, name)
            first = found.doc.partition("\n")[0] if found else ""
            lines += [f"   * - :py:obj:`{package}.{name} <{module}.{name}>`", f"     - {first}"]
        container = nodes.section()
        container.document = self.state.document
        self.state.nested_parse(StringList(lines, source=package), 0, container)
        return container.children


def source_of(app: Sphinx, module: str) -> tuple[str, dict[str, tuple[str, int, int]]]:
    """Return a module's text and where its definitions are, for the links to sources."""
    code = file_of(module).read_text("utf-8")
    return code, ModuleAnalyzer.for_string(code, module).find_tags()


def defined_in(app: Sphinx, module: str, attribute: str) -> str:
    """Return the module that defines what is documented under a room's name."""
    found = resolve(module, attribute.partition(".")[0])
    return found.module if found else module


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("sphinx.ext.napoleon")
    app.setup_extension("sphinx.ext.viewcode")
    app.add_directive("room", Room)
    app.add_directive("front-door", FrontDoor)
    app.connect("viewcode-find-source", source_of)
    app.connect("viewcode-follow-imported", defined_in)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
