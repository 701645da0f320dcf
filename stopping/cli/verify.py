"""`stopping verify`: every claim by Monte Carlo, with the negative control to be rejected."""

import time

import click
from rich.console import Console

from stopping.claims import CLAIMS, Claim, check
from stopping.cli.draws import draws_options, matching
from stopping.cli.lazy import WithMore
from stopping.cli.options import Kept, resume_options, seed_option, workers_options
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import prose
from stopping.support.parallel import Workers


@click.command(
    cls=WithMore,
    more={n: f"stopping.cli.verify_{n}:{n}" for n in ("averages", "figures", "robustness")},
)
@click.argument("names", nargs=-1)
@draws_options
@seed_option
@workers_options
@resume_options
@with_json()
def verify(
    names: tuple[str, ...], effort: float, error: float, seed: int, workers: Workers, kept: Kept
) -> Reply:
    """Check the theory's claims; NAMES are labels or patterns, such as T2 or 'T1*'.

    Each claim is checked beside a negative control: the same check with one deliberate error,
    which it must reject. What is undecided is drawn again, up to 32 times the draws, at the same
    --error in all. Exit code 1 unless every claim holds and every control is rejected.

    \b
    Examples:
      stopping verify                     all claims, within a minute
      stopping verify T2 T11 --thorough   two theorems, 1e8 draws each
      stopping verify --seed 7 --json     machine-readable
      stopping verify --thorough --resume thorough.jsonl      resumes where it was stopped
      stopping verify --thorough --backend dask --scheduler tcp://head:8786      on a cluster
    """
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

    return Reply(
        {"seed": seed, "effort": effort, "error": error, "claims": findings},
        show,
        code=0 if all(finding.sound for finding in findings) else 1,
    )


def select(names: tuple[str, ...]) -> tuple[Claim, ...]:
    """Return the claims whose label or name matches any of `names`; all of them for none."""
    return matching(
        CLAIMS, names, lambda c: (c.label, c.name), "no claim matches {}; labels are {}"
    )
