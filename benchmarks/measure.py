"""How every benchmark measures, and what it leaves.

Contenders run one after the other, round after round, so that whatever else the machine does meets
all of them alike. What is reported of a pair is the median over the rounds of the ratio within a
round: absolute times are worth little on a shared machine, ratios of neighbours in time are. The
clock is the process's CPU time unless a row says otherwise.
"""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from stopping.cli.ui import output, table
from stopping.support.documents import plain
from stopping.support.files import write_atomic

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]


@dataclass(frozen=True)
class Ratio:
    """Median of a ratio over the rounds, with its quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Times:
    """Seconds of each contender in each round."""

    seconds: Mapping[str, Sequence[float]]

    def ratio(self, above: str, below: str) -> Ratio:
        """Time of `above` over that of `below`, round by round."""
        pairs = zip(self.seconds[above], self.seconds[below], strict=True)
        low, median, high = statistics.quantiles([a / b for a, b in pairs], n=4, method="inclusive")
        return Ratio(median, low, high)

    def median(self, name: str) -> float:
        """Median time of one contender, s."""
        return statistics.median(self.seconds[name])


def interleave(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> Times:
    """Run every contender once per round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for counted in range(-1, rounds):
        for name, run in contenders.items():
            began = clock()
            run()
            if counted >= 0:
                seconds[name].append(clock() - began)
    return Times(seconds)


def machine(*libraries: str) -> dict[str, Any]:
    """What a result depends on besides the code: processor, load, versions, commit."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "commit": _commit(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **{n: _version(n) for n in libraries}},
    }


def save(name: str, made: Mapping[str, Any], rows: Sequence[Row], out: Path | None) -> Path:
    """Write rows and provenance as JSON, by default among the results that the book quotes."""
    path = out or RESULTS / f"{name}.json"
    content = {"provenance": made, "rows": plain(rows)}
    write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def save_as_found(
    name: str,
    found: Iterable[Any],
    line: Callable[[Any], str],
    settings: Mapping[str, Any],
    out: Path | None,
) -> None:
    """Tell and save rows (dataclasses) one after the other: what was found outlives a cut."""
    rows: list[Row] = []
    for one in found:
        rows.append({"table": name} | asdict(one))
        click.echo(line(one), err=True)
        path = save(name, machine("numpy", "scipy") | settings, rows, out)
    click.echo(path.name)


def load(name: str) -> dict[str, Any]:
    """Read what `save` wrote."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows that share their columns."""
    heads = list(rows[0])
    found = table(title, *heads)
    for row in rows:
        found.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    output().print(found)


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _commit() -> str:
    run = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout.strip() or "unknown"
