"""What `audit` and `validate` share: which traces to read, and how numbers are printed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from empirical.data import bundled_traces
from empirical.traces.files import Traces, read_traces
from stopping.cli.numbers import REPLICATES, WINDOW
from stopping.cli.ui import progress, prose, table
from stopping.support.tables import count as count
from stopping.support.tables import estimate as estimate
from stopping.support.tables import number as number
from stopping.support.tables import percent as percent
from stopping.support.tables import span as span
from stopping.support.tables import status_text as status_text

Result = TypeVar("Result")

traces_argument = click.argument(
    "traces", nargs=-1, type=click.Path(path_type=Path), metavar="[TRACES]..."
)
window_option = click.option(
    "--window",
    "K",
    type=WINDOW,
    default=10,
    show_default=True,
    help="Steps back from the final layer that the search may take.",
)
replicates_option = click.option(
    "--replicates",
    type=REPLICATES,
    default=1000,
    show_default=True,
    help="Resamples of the bootstrap over prompts.",
)
narrow, sentences = table, prose


def for_each(
    traces: Sequence[Path],
    what: str,
    compute: Callable[[Traces], Result],
    bundled: Callable[[Traces], bool] = lambda _: True,
) -> list[tuple[str, Result]]:
    """Read each trace file and compute its result, under a bar.

    Without any file the bundled ones are taken, those for which `bundled` is true.
    """
    results = []
    with progress() as bar:
        for path in bar.track(list(traces) or [*bundled_traces().values()], description=what):
            read = read_traces(path)
            if traces or bundled(read):
                results.append((str(path) if traces else path.stem, compute(read)))
    return results
