"""The oldest versions that `pyproject.toml` allows, as constraints for pip.

    python tests/floors.py > floors.txt                   those of the base
    python tests/floors.py learn test > floors.txt        and of some extras
    pip install -c floors.txt -e . pytest hypothesis

A floor is promised, so it must be tried: see CONTRIBUTING.md.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def floors(extras: Sequence[str] = ()) -> list[str]:
    """Return `name==version` for every requirement of the base and of these extras."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    optional: dict[str, list[str]] = project["optional-dependencies"]

    def requirements(names: Sequence[str]) -> Iterator[str]:
        for name in names:
            for requirement in optional[name]:
                own = re.match(r"layer-stopping\[(.*)\]", requirement)
                yield from requirements(own[1].split(",")) if own else [requirement]

    lowest: dict[str, str] = {}
    for requirement in [*project["dependencies"], *requirements(extras)]:
        found = re.match(r"([\w.-]+)(?:\[.*?\])?(?:>=|==)([\w.]+)", requirement)
        if found is None:
            raise ValueError(f"{requirement}: states no lowest version")
        lowest.setdefault(found[1], found[2])
    return [f"{name}=={version}" for name, version in lowest.items()]


if __name__ == "__main__":
    print(*floors(sys.argv[1:]), sep="\n")
