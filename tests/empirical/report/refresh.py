"""Compute the slow parts of the bundled report again, and keep them beside the traces.

python -m tests.empirical.report.refresh     takes minutes; commit first: the file names the commit
"""

import subprocess
from pathlib import Path

from scipy import __version__ as scipy_version

from empirical.data import bundled_traces, stored_parts
from empirical.provenance import library_versions, now
from empirical.report import claims, fitting
from empirical.report.results import FULL, WINDOW
from empirical.report.sources import read_sources
from empirical.report.stored import Origin, Part, Store, part, write_store
from stopping.support.parallel import Workers

ROOT = Path(__file__).parents[3]
CODE = ("stopping", "empirical/fitting")


def parts() -> tuple[Part, ...]:
    """Return all parts of a report on the bundled traces with its default settings."""
    workers = Workers()
    checked = claims.checked_claims(0, FULL.claims, workers)
    jobs = fitting.fit_jobs(
        read_sources(list(bundled_traces().values())),
        *(None, WINDOW, 0, FULL.replicates, FULL.refits),
    )
    fits, _ = fitting.fit_files(jobs, workers=workers, begin=print)
    return (
        part(claims.KIND, claims.claims_inputs(0, FULL.claims), checked.findings),
        *(part(fitting.KIND, job.inputs, fit) for job, fit in zip(jobs, fits, strict=True)),
    )


def origin() -> Origin:
    """Return the last commit of the code that computes the parts, the versions, and the time."""
    commit = _git("log", "-1", "--format=%H", "--", *CODE)
    changed = ", changed since" if _git("status", "--porcelain", "-uno", "--", *CODE) else ""
    return Origin(now(), commit + changed, {**library_versions(), "scipy": scipy_version})


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    made_by = origin()  # before the minutes in which somebody may change the code
    write_store(stored_parts(), Store(made_by, parts()))
