"""The one way out of a command: its files are written, its result is printed, its code is set.

A command returns a `Result` and neither knows whether text or JSON is wanted nor what becomes of
the result where a disk is full: that it is printed all the same.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from stopping.cli.ui import as_json, json_option, output, refuse_ignored


@dataclass(frozen=True)
class Result:
    """What a command found.

    Attributes
    ----------
    content : object
        What `--json` prints; a function of no arguments is called once the files are written.
    show : callable
        Prints the text.
    files : sequence of (path, write)
        Files to write; a path that is None is left out.
    code : int
        Exit code.
    """

    content: object
    show: Callable[[Console], object]
    files: Sequence[tuple[Path | None, Callable[[Path], object]]] = ()
    code: int = 0


def with_json(*text_only: str) -> Callable[[Callable[..., Result]], Callable[..., int]]:
    """Give a command `--json`, and print the `Result` that it returns.

    Parameters
    ----------
    *text_only : str
        Parameters that shape the text alone: with `--json` they are refused.
    """

    def decorate(command: Callable[..., Result]) -> Callable[..., int]:
        @json_option
        @functools.wraps(command)
        def run(*args: Any, as_json: bool, **options: Any) -> int:
            if as_json:
                refuse_ignored("with --json", *text_only)
            return deliver(command(*args, **options), as_json)

        return run

    return decorate


def deliver(result: Result, json: bool) -> int:
    """Write the files, print the result even if that failed, and return the exit code."""
    written = []
    out = output()
    try:
        for path, write in result.files:
            if path is not None:
                write(path)
                written.append(path)
    finally:
        if json:
            click.echo(as_json(result.content() if callable(result.content) else result.content))
        else:
            result.show(out)
    if not json:
        for path in written:
            out.print(f"Wrote {path}.", markup=False, soft_wrap=True)
    return result.code
