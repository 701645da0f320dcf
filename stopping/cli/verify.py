"""`stopping verify`: every claim by Monte Carlo, with the negative control to be rejected."""

import time
from fnmatch import fnmatchcase
from pathlib import Path

import click

from stopping.claims import CLAIMS, Claim, check
from stopping.cli.numbers import Number
from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import (
    fresh_option,
    json_option,
    output,
    progress,
    prose,
    resume_option,
    seed_option,
    workers_options,
)
from stopping.errors import UserError
from stopping.support.parallel import Workers
from stopping.support.store import Journal

THOROUGH = 1e8 / Claim.draws
"""Effort at which a claim gets 1e8 draws; dear ones, by linear programs, as many times more."""
MOST = 10_000.0
"""Largest effort: more would take years."""


@click.command()
@click.argument("names", nargs=-1)
@click.option("--thorough", is_flag=True, help="1e8 draws of each claim (dear ones fewer).")
@click.option(
    "--effort",
    type=Number(0, 10_000, min_open=True),
    default=1.0,
    show_default=True,
    help="Multiply the number of draws.",
)
@click.option(
    "--error",
    type=Number(0, 1, min_open=True, max_open=True),
    default=1e-3,
    show_default=True,
    help="Chance that any verdict of the run is wrong.",
)
@seed_option
@workers_options
@resume_option
@fresh_option
@json_option
def verify(
    names: tuple[str, ...],
    thorough: bool,
    effort: float,
    error: float,
    seed: int,
    workers: Workers,
    resume: Path | None,
    fresh: bool,
    as_json: bool,
) -> int:
    """Check the theory's claims; NAMES are labels or patterns, such as T2 or 'T1*'.

    Each claim is checked beside a negative control: the same check with one deliberate error,
    which it must reject. What is undecided is drawn again, up to 32 times the draws, at the same
    --error in all. Exit code 1 unless every claim holds and every control is rejected.

    \b
    Examples:
      stopping verify                     all claims, within a minute
      stopping verify T2 T11 --thorough   two theorems, 1e8 draws each
      stopping verify --seed 7 --json     machine-readable
      stopping verify --thorough --resume thorough.jsonl      goes on where it was stopped
      stopping verify --thorough --backend dask --scheduler tcp://head:8786      on a cluster
    """
    chosen = select(names)
    effort *= THOROUGH if thorough else 1.0
    if effort > MOST:
        raise UserError(f"--effort: at most {MOST / THOROUGH:.3g} with --thorough")
    journal = Journal.open(resume, {"command": "verify", "seed": seed}, fresh)
    start = time.perf_counter()
    with progress() as bar:
        task = bar.add_task("verify", total=0)

        def begin(parts: int) -> None:
            bar.update(task, total=(bar.tasks[0].total or 0) + parts)

        findings = check(
            chosen,
            seed=seed,
            effort=effort,
            workers=workers,
            journal=journal,
            error=error,
            begin=begin,
            advance=lambda done: bar.advance(task, done),
        )
    seconds = time.perf_counter() - start
    if as_json:
        click.echo(to_json({"seed": seed, "effort": effort, "error": error, "claims": findings}))
    else:
        detail = f"seed {seed}, error level {error:g}, {seconds:.1f} s."
        output().print(findings, prose(f"{findings.draws:,} draws, {detail}"), sep="")
    return 0 if all(finding.sound for finding in findings) else 1


def select(names: tuple[str, ...]) -> tuple[Claim, ...]:
    """Return the claims whose label or name matches any of `names`; all of them for none."""
    if not names:
        return CLAIMS
    for name in names:
        if not any(matches(claim, name) for claim in CLAIMS):
            labels = ", ".join(dict.fromkeys(claim.label for claim in CLAIMS))
            raise UserError(f"no claim matches {name!r}; labels are {labels}")
    return tuple(c for c in CLAIMS if any(matches(c, name) for name in names))


def matches(claim: Claim, pattern: str) -> bool:
    """Whether a label or name fits the pattern."""
    return claim.label == pattern or fnmatchcase(claim.name, pattern)
