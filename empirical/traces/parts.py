"""Long captures in parts, so that a killed process loses nothing that was finished.

The parts of a run stand in a folder beside its trace file, `FILE.parts/`. Each is itself a trace
file (in full precision) that appears whole or not at all, under a name that says which prompts it
holds; so a part is never lost, never half there, and never there twice. The folder also keeps the
run's settings: parts made with other settings are not mixed with new ones.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empirical.traces.files import Traces, read_traces, write_traces
from stopping.errors import UserError
from stopping.support.files import write_atomic
from stopping.support.store import require_equal_settings

_PART = re.compile(r"(part|batch)-\d{5}\.(parquet|json)")
_OWN = re.compile(rf"settings\.json|{_PART.pattern}|\..*\.part")


@dataclass(frozen=True)
class Shards:
    """The parts of one run; make it with `Shards.open`."""

    folder: Path

    @classmethod
    def open(cls, out: Path, settings: Mapping[str, Any], fresh: bool = False) -> "Shards":
        """Open the parts of the trace file `out`, which may be none yet.

        Parameters
        ----------
        settings
            All that decides what a part contains, as JSON values.
        fresh
            Throw away what an earlier run left.

        Raises
        ------
        UserError
            If `out` is finished already, or an earlier run with other settings left parts.
        """
        return cls(open_parts(out, settings, fresh))

    def finished(self, number: int) -> Traces | None:
        """Return part `number` if an earlier run finished it."""
        path = self._path(number)
        return read_traces(path) if path.is_file() else None

    def write(self, number: int, traces: Traces) -> None:
        """Keep part `number`."""
        write_traces(self._path(number), traces, storage="float32")

    def remove(self) -> None:
        """Remove the folder, once the whole stands in its file."""
        # The settings go first: should the process die half-way, what is left is recognised as
        # no run at all, next to a finished file.
        (self.folder / "settings.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.parquet"


def open_parts(out: Path, settings: Mapping[str, Any], fresh: bool) -> Path:
    """Return the folder beside `out` that keeps what a run with these settings has finished.

    Raises
    ------
    UserError
        As `require_room`; or if a run with other settings is there.
    """
    require_room(out, fresh)
    folder = parts_folder(out)
    record = folder / "settings.json"
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    if record.is_file():
        require_same_run(record, json.loads(json.dumps(settings)))
    else:
        write_atomic(record, json.dumps(settings, indent=2))
    return folder


def require_room(out: Path, fresh: bool) -> None:
    """Raise before any work is done if a run that writes `out` would destroy something.

    Raises
    ------
    UserError
        If `out` is finished already and not to be replaced, or the folder of its parts holds what
        no run wrote.
    """
    folder = parts_folder(out)
    if out.exists() and not fresh and not (folder / "settings.json").is_file():
        raise UserError(f"{out}: exists already; name another file, or replace it with --fresh")
    for path in folder.rglob("*"):
        # The folder will be removed in the end, or at once.
        if path.is_file() and not _OWN.fullmatch(path.name):
            raise UserError(
                f"{path}: does not belong into the folder of an unfinished run; move it away, or "
                f"name another file than {out.name}"
            )


def has_parts(folder: Path) -> bool:
    """Whether a run has finished any part here."""
    return any(_PART.fullmatch(path.name) for path in folder.rglob("*"))


def parts_folder(out: Path) -> Path:
    """Where the parts of a run that writes `out` stand."""
    return out.with_name(f"{out.name}.parts")


def require_same_run(record: Path, settings: Mapping[str, Any]) -> None:
    """Raise a UserError that names the differences to the settings in the file `record`."""
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{record}: damaged; start anew with --fresh") from error
    require_equal_settings(record.parent, before, settings)
