"""Finished parts of a run that writes one file: in a folder beside it, each a file of its own.

A part appears whole or not at all, under a name that says which it is; so a part is never lost,
never half there, and never there twice. The folder, `FILE.parts/`, also keeps the settings of the
run: parts made with other settings are not mixed with new ones. What a part is, its codec knows.

    LINES = Codec("json", write_lines, read_lines)
    parts = Parts.open(Path("out.json"), {"seed": 0}, LINES)
    with parts.kept():
        for number in range(100):
            lines = parts.part(number)
            if lines is None:
                lines = parts.keep(number, work(number))
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from stopping.errors import UserError
from stopping.support.documents import plain, structured
from stopping.support.files import write_atomic
from stopping.support.store.settings import kept_in, require_equal_settings

T = TypeVar("T")

_PART = re.compile(r"part-\d{5}\.\w+")
_OWN = re.compile(rf"settings\.json|{_PART.pattern}|\..*\.part")


@dataclass(frozen=True)
class Codec(Generic[T]):
    """How a part stands in its file.

    Attributes
    ----------
    suffix : str
        Of the file's name.
    write, read : callable
        `write(path, part)`, whole or not at all, and `read(path)`.
    """

    suffix: str
    write: Callable[[Path, T], object]
    read: Callable[[Path], T]


def json_codec(kind: type[T]) -> Codec[T]:
    """Return the codec of values of a type that JSON can hold: see `documents.plain`."""
    return Codec(
        "json",
        lambda path, part: write_atomic(path, json.dumps(plain(part), ensure_ascii=False)),
        lambda path: structured(json.loads(path.read_text(encoding="utf-8")), kind),
    )


@dataclass(frozen=True)
class Parts(Generic[T]):
    """The parts of one run; make it with `Parts.open`."""

    folder: Path
    settings: Mapping[str, Any]
    codec: Codec[T]

    @classmethod
    def open(
        cls,
        out: Path,
        settings: Mapping[str, Any],
        codec: Codec[T],
        *,
        fresh: bool = False,
        replace: bool = False,
    ) -> "Parts[T]":
        """Open the parts of the file `out`, which may be none yet.

        Parameters
        ----------
        settings
            All that decides what a part contains, as JSON values.
        fresh
            Throw away what an earlier run left.
        replace
            Throw it away if its settings were others, and do not mind a finished file.

        Raises
        ------
        UserError
            As `require_room`; or if a run with other settings is there, and not to be replaced.
        """
        require_room(out, fresh or replace)
        parts = cls(parts_folder(out), json.loads(json.dumps(settings)), codec)
        begun = parts._record.is_file()
        before = _settings(parts._record) if begun else parts.settings
        if fresh or (replace and before != parts.settings):
            shutil.rmtree(parts.folder, ignore_errors=True)
        elif before is None:
            raise UserError(f"{parts._record}: damaged; start anew with --fresh")
        else:
            require_equal_settings(parts.folder, before, parts.settings)
        return parts

    def part(self, number: int, of: str = "") -> T | None:
        """Return part `number` if an earlier run finished it; `of` names a series of parts.

        Raises
        ------
        UserError
            If its file is damaged.
        """
        path = self._path(number, of)
        if not path.is_file():
            return None
        try:
            return self.codec.read(path)
        except Exception as error:  # whatever the codec says of a damaged file
            raise UserError(f"{path}: damaged; delete it, and only this part runs anew") from error

    def keep(self, number: int, part: T, of: str = "") -> T:
        """Keep a part, and return it."""
        if not self._record.is_file():
            write_atomic(self._record, json.dumps(self.settings, indent=2))
        self.codec.write(self._path(number, of), part)
        return part

    def kept(self) -> AbstractContextManager[None]:
        """Let an interruption of the work say where its parts are: see `kept_in`."""
        return kept_in(
            self.folder, lambda: any(_PART.fullmatch(path.name) for path in self.folder.rglob("*"))
        )

    def remove(self) -> None:
        """Remove the folder, once the whole stands in its file."""
        # The settings go first: should the process die half-way, what is left is recognised as
        # no run at all, next to a finished file.
        self._record.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _record(self) -> Path:
        return self.folder / "settings.json"

    def _path(self, number: int, of: str) -> Path:
        series = self.folder / re.sub(r"[^\w.,=-]+", "_", of)
        return series / f"part-{number:05d}.{self.codec.suffix}"


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


def parts_folder(out: Path) -> Path:
    """Where the parts of a run that writes `out` stand."""
    return out.with_name(f"{out.name}.parts")


def _settings(record: Path) -> Any:
    """Settings of an earlier run; None if they are damaged."""
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except ValueError:
        return None
