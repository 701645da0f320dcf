"""The public names of the packages, read from their text and not imported.

What a room offers are the names of its `__all__`, and those of the front door whose home is in the
room; a module of the theory without `__all__` offers all that has a docstring and no underscore.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from inspect import cleandoc
from pathlib import Path

ROOT = Path(__file__).parents[2]
Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
SHOWN_WHOLE = (
    *("stopping.theory", "stopping.model", "stopping.simulation"),
    *(
        f"stopping.optimal.{name}"
        for name in ("budget", "classics", "control", "diagram", "prophets", "published", "robbins")
    ),
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


@cache
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


@cache
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
        if kept := [name for name in resolved if name is not None]:
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
    arguments = copy.deepcopy(node.args)
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


def rooms() -> list[str]:
    """Return the rooms of both packages that offer something."""
    found = []
    for package in ("stopping", "empirical"):
        for path in sorted((ROOT / package).iterdir()):
            inside = path.stem.startswith("_") or not (
                path.suffix == ".py" or (path / "__init__.py").is_file()
            )
            if not inside and names_of(room := f"{package}.{path.stem}"):
                found.append(room)
    return found
