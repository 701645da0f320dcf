"""Trace files as the report takes them: what was read, and the SHA-256 that names it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from empirical.traces.files import Traces, read_traces
from stopping.errors import UserError


@dataclass(frozen=True, eq=False)
class Source:
    """A trace file; `sha256` is that of its bytes."""

    path: Path
    traces: Traces
    sha256: str

    @property
    def name(self) -> str:
        """Name without its folder."""
        return self.path.name


def read_sources(paths: Sequence[Path]) -> tuple[Source, ...]:
    """Read trace files, each model, lens and mode at most once.

    Raises
    ------
    UserError
        If there is none, one cannot be read, or two trace the same.
    """
    if not paths:
        raise UserError("no traces: name a trace file, or make one with `stopping trace`")
    sources: dict[tuple[str, str, str], Source] = {}
    for path in paths:
        traces = read_traces(path)
        origin = traces.provenance
        key = (origin.model, origin.lens, origin.mode)
        if key in sources:
            raise UserError(
                f"{path}: traces {origin.model} ({origin.lens} lens, {origin.mode} mode), and so "
                f"does {sources[key].path}; report on one of them at a time"
            )
        sources[key] = Source(path, traces, hashlib.sha256(path.read_bytes()).hexdigest())
    return tuple(sources.values())
