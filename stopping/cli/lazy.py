"""Commands that are imported only when they are run, by their place `module:name`.

Lists in `--help` need one line of each, which is read from the docstring in the source, without
importing anything.
"""

import ast
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from stopping.errors import UserError


class WithMore(click.Command):
    """A command with further ones below its name: `stopping trace`, and `stopping trace merge`.

    Parameters
    ----------
    more : mapping of str to str
        Name of each further command, and its place.
    """

    def __init__(self, *args: Any, more: Mapping[str, str], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.more = more

    @property
    def commands(self) -> dict[str, click.Command]:
        """The further commands by their names."""
        return {name: load(name, place) for name, place in self.more.items()}

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse the arguments for the further command that they begin with, else for this one."""
        if args and (place := self.more.get(args[0])) is not None:
            name, *rest = args
            return load(name, place).make_context(f"{info_name} {name}", rest, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the further commands below the options."""
        super().format_options(ctx, formatter)
        write_list(formatter, "Further commands", self.more)


def load(name: str, place: str) -> click.Command:
    """Import a command.

    Raises
    ------
    UserError
        If what stands there is none.
    """
    module, _, attribute = place.partition(":")
    command = getattr(import_module(module), attribute)
    if not isinstance(command, click.Command):
        raise UserError(f"{place}: the entry point {name!r} is no click command")
    return command


def summary(place: str) -> str:
    """Return the first paragraph of a command's docstring, from its source."""
    module, _, name = place.partition(":")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").partition("\n\n")[0]
    return ""


def write_list(formatter: click.HelpFormatter, title: str, places: Mapping[str, str]) -> None:
    """List commands with the first sentence of their docstrings."""
    room = formatter.width - 6 - max(map(len, places))
    rows = [
        (name, click.Command(name, help=summary(place)).get_short_help_str(room))
        for name, place in sorted(places.items())
    ]
    with formatter.section(title):
        formatter.write_dl(rows)
