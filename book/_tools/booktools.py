"""What only the repository can give to a page: stored benchmarks, and which page proves what.

All else is `empirical.notebook`, whose names are here too.
"""

import json
import re
from pathlib import Path
from typing import Any

from empirical.notebook import *  # noqa: F403


def benchmark(name: str) -> dict[str, Any]:
    """Read the results of a benchmark: `provenance`, and `rows` by the `table` they belong to."""
    path = Path(__file__).parents[2] / "benchmarks" / "results" / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def measured_on(made: dict[str, Any]) -> str:
    """Say in one sentence what results were measured with."""
    versions = ", ".join(f"{library} {version}" for library, version in made["versions"].items())
    return (
        f"{made['processor']}, {made['cores']} cores, load {made['load'][0]:g} at the start, "
        f"{made['date'][:10]}, commit {made['commit']}; {versions}"
    )


def pages_of_theorems() -> dict[str, str]:
    pages = Path(__file__).parents[1] / "pages"
    return {
        label: page.stem
        for page in pages.glob("*.md")
        for label in re.findall(r"^:label: thm:(\S+)$", page.read_text("utf-8"), re.MULTILINE)
    }
