"""Options that several commands have, each written once.

Some come in sets that a command gets as one object: `workers`, and where finished parts are `kept`.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from stopping.cli.numbers import JOBS, SEED
from stopping.support.parallel import BACKENDS, Workers
from stopping.support.store import Journal

C = TypeVar("C", bound=Callable[..., Any])
Options = Callable[[C], C]

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

seed_option = click.option("--seed", type=SEED, default=0, help="Seed of every draw.")
fresh_option = click.option(
    "--fresh", is_flag=True, help="Throw away what an earlier run left, and start anew."
)
paths_option = click.option(
    "--paths",
    type=click.IntRange(1000, 10_000_000),
    default=20_000,
    help="Tokens of the regression, and as many fresh ones to judge the rules.",
)
jobs_option = click.option(
    "--jobs",
    type=JOBS,
    default=None,
    help="Worker processes (default: the machine's cores). Results do not depend on it.",
)


def figure_option(what: str) -> Options[Any]:
    """`--figure FILE`: draw `what` there."""
    return click.option(
        "--figure", type=FILE, help=f"Draw {what} into this file (.svg, .pdf or .png)."
    )


def rules_option(what: str) -> Options[Any]:
    """`--rule SPEC`, repeatable, as `specs`."""
    return click.option("--rule", "specs", multiple=True, metavar="SPEC", help=what)


def workers_options(command: C) -> C:
    """Give a command `--jobs`, `--backend` and `--scheduler`; it gets them as `workers`."""

    @jobs_option
    @click.option(
        "--backend",
        type=click.Choice(BACKENDS),
        default="loky",
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


@dataclass(frozen=True)
class Kept:
    """Where the finished parts of a long run are kept, and whether to begin anew."""

    path: Path | None
    fresh: bool

    def open(self, settings: Mapping[str, Any]) -> Journal:
        """Open the parts that were made with these settings."""
        return Journal.open(self.path, settings, self.fresh)


def resume_options(command: C) -> C:
    """Give a command `--resume` and `--fresh`; it gets them as `kept`."""

    @click.option(
        "--resume",
        type=FILE,
        metavar="FILE",
        help="Keep finished parts in FILE, and resume from those that it holds.",
    )
    @click.option(
        "--fresh", is_flag=True, help="Throw away what an earlier run left in --resume's file."
    )
    @functools.wraps(command)
    def run(*args: Any, resume: Path | None, fresh: bool, **options: Any) -> Any:
        return command(*args, kept=Kept(resume, fresh), **options)

    return cast(C, run)
