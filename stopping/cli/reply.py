"""The one way out of a command: its files are written, its result is printed, its code is set.

A command returns a `Reply` and knows neither whether text or JSON is wanted nor what becomes of
the result where a disk is full: that it is printed all the same.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import click
from rich.console import Console, RenderableType

from stopping.cli.ui import json_option, output, refuse_ignored, show
from stopping.support.documents import as_json
from stopping.support.results import Report

R = TypeVar("R")
Show: TypeAlias = Callable[[Console], object]


@dataclass(frozen=True)
class Reply:
    """What a command found.

    Attributes
    ----------
    content : object
        What `--json` prints; a function of no arguments is called once the files are written.
    text : renderable, report or callable
        What is printed otherwise, or prints it; asked once the files are written.
    files : sequence of (path, write)
        Files to write; a path that is None is left out.
    code : int
        Exit code.
    last : callable, optional
        Prints what has to stand at the end, below the names of the files; not with `--json`.
    """

    content: object
    text: RenderableType | Report | Show
    files: Sequence[tuple[Path | None, Callable[[Path], object]]] = ()
    code: int = 0
    last: Show | None = None


def with_json(*text_only: str) -> Callable[[Callable[..., Reply]], Callable[..., int]]:
    """Give a command `--json`, and print the `Reply` that it returns.

    Parameters
    ----------
    *text_only : str
        Parameters that shape the text alone: with `--json` they are refused.
    """

    def decorate(command: Callable[..., Reply]) -> Callable[..., int]:
        @json_option
        @functools.wraps(command)
        def run(*args: Any, as_json: bool, **options: Any) -> int:
            if as_json:
                refuse_ignored("with --json", *text_only)
            return deliver(command(*args, **options), as_json)

        return run

    return decorate


def deliver(reply: Reply, json: bool) -> int:
    """Write the files, print the result even if that failed, and return the exit code."""
    written = []
    out = output()
    try:
        for path, write in reply.files:
            if path is not None:
                write(path)
                written.append(path)
    finally:
        if json:
            click.echo(as_json(reply.content() if callable(reply.content) else reply.content))
        elif callable(reply.text):
            reply.text(out)
        elif isinstance(reply.text, Iterator):
            show(out, reply.text)
        else:
            out.print(reply.text, markup=False, soft_wrap=isinstance(reply.text, str))
        if not json:
            for path in written:
                out.print(f"Wrote {path}.", markup=False, soft_wrap=True)
            if reply.last is not None:
                reply.last(out)
    return reply.code


def of_each(
    results: Sequence[tuple[str, R]],
    what: str,
    report: Callable[[str, R], Report],
    files: Sequence[tuple[Path | None, Callable[[Path], object]]] = (),
) -> Reply:
    """Reply with a result for each trace file; `report(file, result)` is what one of them says."""

    def text(out: Console) -> None:
        for name, result in results:
            show(out, report(name, result))
            out.print()

    return Reply([{"traces": name, what: result} for name, result in results], text, files)
