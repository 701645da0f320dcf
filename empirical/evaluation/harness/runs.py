"""Runs of the harness beside each other: which answers agree with those of its own class.

A run is compared with the first one of the same decoder, which
tells what the size of its batches changes, or else with the first of all. An answer is all that a
model said of one record: a text, or the log-likelihood of each choice, which are the same only if
they are so to the last bit.
"""

from dataclasses import dataclass
from pathlib import Path

from stopping.support.documents import Format

FORMAT = Format(
    "layer-stopping harness runs", 2, "summary of harness runs", "the package brings one"
)


@dataclass(frozen=True)
class HarnessRun:
    """One run of one task.

    `same` counts the answers that are those of the run that it is compared with, whose batches had
    size `against`, None where that is the first of all; `apart` is the largest difference of two
    log-likelihoods, nats, None for texts. `decoder` is None for the harness's own class. `of` says
    which layers' log-likelihoods are scored. `tokens` is the number of tokens that the run
    generated, None with the shares of them for the harness's own class and for tasks without any.
    `max_tokens` is None where the task's holds.
    """

    decoder: str | None
    of: str
    batch: str
    against: str | None
    model: str
    harness: str
    task: str
    device: str
    max_tokens: int | None
    answers: int
    same: int
    apart: float | None
    tokens: int | None
    moved: float | None
    substituted: float | None


@dataclass(frozen=True)
class HarnessRuns:
    """Runs of one model task by task, that of the harness's own class first."""

    runs: tuple[HarnessRun, ...]


def read_runs(path: Path) -> HarnessRuns:
    """Read a summary.

    Raises
    ------
    UserError
        If the file is missing, of another kind, or incomplete.
    """
    return FORMAT.load(path, HarnessRuns)
