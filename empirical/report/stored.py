"""The slow parts of the bundled report, kept beside the traces with what they were computed from.

A part (the check of the claims, the fit of one trace file) is found again only by the very inputs
that made it: the SHA-256 of the files it read, and every setting on which it depends. Whatever
differs is computed anew, and so is everything with `--fresh`. The file says which commit and which
versions computed it, and when.

python -m tests.empirical.report.refresh     computes all parts again and writes the file
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cattrs

from empirical.data import stored_parts
from stopping.errors import UserError
from stopping.support.documents import Format, plain, structured
from stopping.support.files import write_atomic

_DAMAGE = (cattrs.BaseValidationError, UserError, ValueError, TypeError, KeyError)
Inputs = Mapping[str, Any]
"""What made a part: plain values under their names."""

FORMAT = Format(
    "layer-stopping stored parts of a report",
    1,
    "file of stored report parts",
    "it comes with the package: install layer-stopping again",
)


@dataclass(frozen=True)
class Origin:
    """What computed the stored parts."""

    date: str
    commit: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Part:
    """One part: its kind, what made it, and its content as plain values."""

    kind: str
    inputs: Inputs
    value: Any


@dataclass(frozen=True)
class Store:
    """Parts that were computed before."""

    origin: Origin
    parts: tuple[Part, ...]

    def find(self, kind: str, inputs: Inputs, of: Any) -> Any:
        """Return the part that these inputs made, as a value of type `of`.

        None if there is none, or its content is damaged: then it is computed anew.
        """
        for part in self.parts:
            if part.kind == kind and part.inputs == inputs:
                try:
                    return structured(part.value, of, exact=True)
                except _DAMAGE:
                    return None
        return None


def part(kind: str, inputs: Inputs, value: object) -> Part:
    """Make a part of a typed value."""
    return Part(kind, inputs, plain(value, lacking=str))


def write_store(path: Path, store: Store) -> None:
    """Write all parts as JSON without spaces, whole or not at all."""
    content = FORMAT.wrap(plain(store))
    write_atomic(path, json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n")


def read_store(path: Path) -> Store:
    """Read what `write_store` wrote.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another kind, or newer than the package.
    """
    return FORMAT.load(path, Store)


def bundled_store(warn: Callable[[str], object]) -> Store | None:
    """Return the store that ships with the package; without one, or with a damaged one, None.

    `warn` is told what is wrong with a damaged one: it costs time, never a result.
    """
    path = stored_parts()
    if not path.exists():
        return None
    try:
        return read_store(path)
    except UserError as error:
        warn(f"{error}. All parts are computed anew.")
        return None
