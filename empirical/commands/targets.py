"""What `audit` and `validate` share: which traces to read, and how numbers are printed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import click
from rich.text import Text

from empirical.data import bundled_traces
from empirical.traces.files import Traces, read_traces
from stopping.cli.numbers import REPLICATES, WINDOW
from stopping.cli.ui import progress, prose, table
from stopping.support.statistics import Interval

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
    help="Steps back from the last layer that the search may take.",
)
replicates_option = click.option(
    "--replicates",
    type=REPLICATES,
    default=1000,
    show_default=True,
    help="Resamples of the bootstrap over prompts.",
)
narrow, sentences = table, prose
COLOURS = {"holds": "green", "better": "green", "fails": "red", "worse": "red"}


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


def headline(name: str, model: str, tokens: int, prompts: int, K: int, level: float) -> Text:
    """One line that says what is looked at."""
    return Text.assemble(
        (model, "bold"),
        "" if name == model else f" ({name})",
        f": {count(tokens, 'token')} of {count(prompts, 'prompt')}, window of {count(K, 'step')}, "
        f"{level:.0%} intervals over prompts",
    )


def status_text(status: str | None) -> Text:
    """Render a status in its colour; a dash where there is none."""
    return Text("–") if status is None else Text(str(status), style=COLOURS.get(status, "yellow"))


def number(value: float | None, pattern: str) -> str:
    """Format a number; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    # A rounded zero has no sign.
    text = format(value, pattern).replace("-", "−")
    return text if text.strip("−+0.%") else text.strip("−+")


def span(interval: Interval, pattern: str) -> str:
    """Ends of an interval."""
    if math.isnan(interval.low):
        return "–"
    return f"[{number(interval.low, pattern)}, {number(interval.high, pattern)}]"


def estimate(interval: Interval, pattern: str) -> str:
    """Estimate with the ends of its interval."""
    if math.isnan(interval.low):
        return number(interval.estimate, pattern)
    return f"{number(interval.estimate, pattern)} {span(interval, pattern)}"


def percent(interval: Interval) -> Interval:
    """The same interval in percentage points."""
    return replace(
        interval,
        estimate=100 * interval.estimate,
        low=100 * interval.low,
        high=100 * interval.high,
    )


def count(n: int, thing: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"
