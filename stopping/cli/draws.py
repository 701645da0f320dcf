"""What `verify` and `verify robustness` share: what is asked, how much is drawn, how surely."""

import functools
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar, cast

import click

from stopping.claims import Claim
from stopping.cli.numbers import Number
from stopping.errors import UserError

C = TypeVar("C", bound=Callable[..., Any])
T = TypeVar("T")
THOROUGH = 1e8 / Claim.draws
"""Effort at which a claim gets 1e8 draws; expensive ones, by linear programs, fewer."""
MOST = 10_000.0
"""Largest effort: more would take years."""


def draws_options(command: C) -> C:
    """Give a command `--thorough`, `--effort` and `--error`; it gets `effort` and `error`."""

    @click.option("--thorough", is_flag=True, help="1e8 draws each (expensive ones fewer).")
    @click.option(
        "--effort",
        type=Number(0, MOST, min_open=True),
        default=1.0,
        help="Multiply the number of draws.",
    )
    @click.option(
        "--error",
        type=Number(0, 1, min_open=True, max_open=True),
        default=1e-3,
        help="Chance that any verdict of the run is wrong.",
    )
    @functools.wraps(command)
    def run(*args: Any, thorough: bool, effort: float, **options: Any) -> Any:
        effort *= THOROUGH if thorough else 1.0
        if effort > MOST:
            raise UserError(f"--effort: at most {MOST / THOROUGH:.3g} with --thorough")
        return command(*args, effort=effort, **options)

    return cast(C, run)


def matching(
    every: Sequence[T],
    names: Sequence[str],
    called: Callable[[T], tuple[str, str]],
    mistake: str,
) -> tuple[T, ...]:
    """Return those of which any of `names` is the label, or a pattern of the full name.

    Parameters
    ----------
    names : none for all.
    called : label and full name.
    mistake : what is said of a name that fits none; it is put in first, all labels second.

    Raises
    ------
    UserError
        If a name fits none.
    """

    def fits(one: T, pattern: str) -> bool:
        label, name = called(one)
        return label == pattern or fnmatchcase(name, pattern)

    for pattern in names:
        if not any(fits(one, pattern) for one in every):
            labels = dict.fromkeys(called(one)[0] for one in every)
            raise UserError(mistake.format(repr(pattern), ", ".join(labels)))
    return tuple(one for one in every if not names or any(fits(one, name) for name in names))
