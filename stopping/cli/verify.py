"""`stopping verify`: every claim by Monte Carlo, with the negative control to be rejected.

The theory's other tables are asked of the same command, and its figures: see `Table`.
"""

import enum
import time
from fnmatch import fnmatchcase
from pathlib import Path

import click
from rich.console import Console

from stopping.claims import CLAIMS, Claim, check
from stopping.cli.numbers import Number
from stopping.cli.options import FOLDER, Kept, resume_options, seed_option, workers_options
from stopping.cli.progress import progress
from stopping.cli.result import Result, with_json
from stopping.cli.ui import prose, refuse_ignored
from stopping.errors import UserError
from stopping.support.parallel import Workers

THOROUGH = 1e8 / Claim.draws
"""Effort at which a claim gets 1e8 draws; expensive ones (linear programs) as many times more."""
MOST = 10_000.0
"""Largest effort: more would take years."""


class Table(enum.StrEnum):
    """What is asked."""

    CLAIMS = "claims"
    AVERAGES = "averages"
    ROBUSTNESS = "robustness"
    FIGURES = "figures"


DRAWN = ("thorough", "effort", "error", "resume", "fresh")
SHARED = ("jobs", "backend", "scheduler")
WITHOUT_MEANING: dict[Table, tuple[str, ...]] = {
    Table.CLAIMS: ("layers", "suffix", "quick"),
    Table.AVERAGES: ("names", *DRAWN, "suffix", "quick"),
    Table.ROBUSTNESS: ("layers", "suffix", "quick"),
    Table.FIGURES: (*DRAWN, *SHARED, "layers"),
}


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--averages",
    is_flag=True,
    help="In place of the claims: the largest expected excess over all drifts (T13).",
)
@click.option(
    "--robustness",
    is_flag=True,
    help="In place of the claims: which bound survives which broken assumption.",
)
@click.option(
    "--figures",
    "folder",
    type=FOLDER,
    metavar="FOLDER",
    help="In place of the claims: draw the theory, a file for each figure.",
)
@click.option("--thorough", is_flag=True, help="1e8 draws of each claim (expensive ones fewer).")
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
@click.option(
    "--layers",
    type=click.IntRange(min=1, max=12),
    default=8,
    show_default=True,
    help="Of --averages: largest number of layers below V* whose falls are searched.",
)
@click.option(
    "--format",
    "suffix",
    type=click.Choice(("svg", "png", "pdf")),
    default="svg",
    show_default=True,
    help="Of --figures.",
)
@click.option("--quick", is_flag=True, help="Of --figures: seconds in place of a minute.")
@seed_option
@workers_options
@resume_options
@with_json()
def verify(
    names: tuple[str, ...],
    averages: bool,
    robustness: bool,
    folder: Path | None,
    thorough: bool,
    effort: float,
    error: float,
    layers: int,
    suffix: str,
    quick: bool,
    seed: int,
    workers: Workers,
    kept: Kept,
) -> Result:
    """Check the theory's claims; NAMES are labels or patterns, such as T2 or 'T1*'.

    Each claim is checked beside a negative control: the same check with one deliberate error,
    which it must reject. What is undecided is drawn again, up to 32 times the draws, at the same
    --error in all. Exit code 1 unless every claim holds and every control is rejected.

    The bounds T2 and T10 hold for the worst noise and for any sub-Gaussian noise; --averages asks
    how much is left of them where the noise is random with a known law and only the drifts are the
    worst. --robustness asks the bounds in worlds where an assumption fails; NAMES are then broken
    assumptions, or patterns of 'assumption, parameter, shape'. A survival is a theorem, or a
    finding about this world alone; a failure needs no more than the one world. NAMES of --figures
    are those of the figures.

    \b
    Examples:
      stopping verify                     all claims, within a minute
      stopping verify T2 T11 --thorough   two theorems, 1e8 draws each
      stopping verify --seed 7 --json     machine-readable
      stopping verify --thorough --resume thorough.jsonl      resumes where it was stopped
      stopping verify --thorough --backend dask --scheduler tcp://head:8786      on a cluster
      stopping verify --averages --layers 4        faster; the remainder says what is missed
      stopping verify --robustness A3 A4           two broken assumptions
      stopping verify --robustness '*rho*flat'     correlated noise without drift
      stopping verify --figures figures --quick    the theory drawn
      stopping verify --figures . values certificate --format pdf
    """
    asked = chosen_table(averages, robustness, folder is not None)
    without = "without --averages or --figures" if asked is Table.CLAIMS else f"with --{asked}"
    refuse_ignored(without, *WITHOUT_MEANING[asked])
    effort *= THOROUGH if thorough else 1.0
    if effort > MOST:
        raise UserError(f"--effort: at most {MOST / THOROUGH:.3g} with --thorough")
    # Imported where they are asked for: the claims need none of them.
    if folder is not None:
        from stopping.cli.verify_figures import figures

        return figures(names, folder, suffix, quick, seed)
    if averages:
        from stopping.cli.verify_averages import averages as find_averages

        return find_averages(layers, seed, workers)
    if robustness:
        from stopping.cli.verify_robustness import robustness as ask_bounds

        return ask_bounds(names, effort, error, seed, workers, kept)
    return claims(names, effort, error, seed, workers, kept)


def chosen_table(averages: bool, robustness: bool, figures: bool) -> Table:
    """Return the one that is asked for, the claims by default."""
    flags = {Table.AVERAGES: averages, Table.ROBUSTNESS: robustness, Table.FIGURES: figures}
    asked = [table for table, given in flags.items() if given]
    if len(asked) > 1:
        raise UserError(f"--{asked[0]} and --{asked[1]}: ask one at a time, not both")
    return asked[0] if asked else Table.CLAIMS


def claims(
    names: tuple[str, ...], effort: float, error: float, seed: int, workers: Workers, kept: Kept
) -> Result:
    """Check the claims that any of `names` fits."""
    chosen = select(names)
    journal = kept.open({"command": "verify", "seed": seed})
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

    def show(out: Console) -> None:
        detail = f"seed {seed}, error level {error:g}, {seconds:.1f} s."
        out.print(findings, prose(f"{findings.draws:,} draws, {detail}"), sep="")

    return Result(
        {"seed": seed, "effort": effort, "error": error, "claims": findings},
        show,
        code=0 if all(finding.sound for finding in findings) else 1,
    )


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
