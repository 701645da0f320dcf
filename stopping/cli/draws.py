"""How much is drawn, and how sure the verdicts are: options of `verify` and `verify robustness`."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from stopping.claims import Claim
from stopping.cli.numbers import Number
from stopping.errors import UserError

C = TypeVar("C", bound=Callable[..., Any])
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
