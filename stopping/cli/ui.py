"""What every command shares: where text goes, how progress looks, how results become JSON.

Results go to standard output, progress and errors to standard error, so that `--json` output can
be piped while a bar is shown.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from rich.console import Console

from stopping.cli.numbers import JOBS, SEED
from stopping.cli.progress import progress as progress
from stopping.errors import UserError
from stopping.support.documents import as_json as as_json
from stopping.support.parallel import BACKENDS, Workers
from stopping.support.tables import PAGE
from stopping.support.tables import prose as prose
from stopping.support.tables import table as table

C = TypeVar("C", bound=Callable[..., Any])

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON on standard output instead of text."
)
seed_option = click.option(
    "--seed",
    type=SEED,
    default=0,
    show_default=True,
    help="Seed of every draw.",
)
resume_option = click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep finished parts in FILE, and go on from those that it holds.",
)
fresh_option = click.option(
    "--fresh", is_flag=True, help="Throw away what an earlier run left in --resume's file."
)


def workers_options(command: C) -> C:
    """Give a command `--jobs`, `--backend` and `--scheduler`; it gets them as `workers`."""

    @click.option(
        "--jobs",
        type=JOBS,
        default=None,
        help="Worker processes (default: the machine's cores). Results do not depend on it.",
    )
    @click.option(
        "--backend",
        type=click.Choice(BACKENDS),
        default="loky",
        show_default=True,
        help="This machine, or a cluster (extra `cluster`). Results do not depend on it.",
    )
    @click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="A running cluster, such as tcp://host:8786; default: one on this machine.",
    )
    @functools.wraps(command)
    def run(*args: Any, jobs: Any, backend: Any, scheduler: Any, **options: Any) -> Any:
        return command(*args, workers=Workers(jobs, backend, scheduler), **options)

    return cast(C, run)


def refuse_ignored(where: str, *names: str) -> None:
    """Raise a UserError if the command line has one of these parameters, which `where` ignores."""
    context = click.get_current_context()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is click.core.ParameterSource.COMMANDLINE:
            raise UserError(
                f"{parameter.opts[-1]} has no meaning {where}; leave it out, or change the other"
            )


def output() -> Console:
    """Console for results: as wide as the terminal; piped, plain and PAGE or `COLUMNS` wide."""
    console = Console(highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(highlight=False, width=PAGE)
