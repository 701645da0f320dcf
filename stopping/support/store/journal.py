"""Finished cells of a long sweep, so that a killed run resumes.

A sweep is a mapping of named *cells* to jobs. What a cell gave is one line of JSON in a file, added
as soon as it is known; the first line holds the settings that all cells depend on. A process that
dies may leave half a line behind, which is dropped, so that cell alone is done again. Results read
from the file and results just computed go through the same text, so a run that was interrupted ends
with the same result, bit for bit, as one that was not.

    @dataclass(frozen=True)
    class Cell:
        excess: float
        stderr: float

    work = {f"eps={eps!r}, rise={rise!r}": partial(simulate, eps, rise) for eps, rise in grid}
    found = sweep(work, Cell, workers=Workers(jobs=2), journal=Journal.open(path, {"seed": 0}))

The names must say all that tells the cells of one file apart, the settings all that its cells have
in common, so that further cells (a finer grid) may be added later at their own cost.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import cattrs

from stopping.errors import UserError
from stopping.support.documents import structured
from stopping.support.files import explained, require_file_or_nothing, write_atomic
from stopping.support.parallel import Workers, in_order
from stopping.support.store.settings import kept_in, require_equal_settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    R = TypeVar("R", bound=DataclassInstance)
else:
    R = TypeVar("R")


@dataclass
class Journal:
    """The finished cells of a sweep and their file; make it with `Journal.open`.

    Attributes
    ----------
    path : Path, optional
        Where cells are kept; None keeps nothing.
    finished : dict
        What each finished cell gave, as JSON values.
    """

    path: Path | None = None
    finished: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path | None, settings: Mapping[str, Any], fresh: bool = False) -> "Journal":
        """Open the file, which may be none yet.

        Parameters
        ----------
        path : Path, optional
            None for a sweep that keeps nothing.
        settings : mapping
            All that the result of a cell depends on, besides the cell's name, as JSON values. The
            version of this package is added.
        fresh : bool
            Throw away what an earlier run left.

        Raises
        ------
        UserError
            If the file holds cells made with other settings, is damaged or no such file, or cannot
            be written.
        """
        if path is None:
            if fresh:
                raise UserError("--fresh: there is nothing to throw away without --resume FILE")
            return cls()
        require_file_or_nothing(path)
        given = json.loads(json.dumps({**settings, "version": version("layer-stopping")}))
        if fresh and path.exists():
            _read(path)  # whatever it is, nothing but finished cells is thrown away
        if fresh or not path.exists():
            write_atomic(path, json.dumps({"settings": given}) + "\n")
            return cls(path)
        before, finished = _read(path)
        require_equal_settings(path, before, given)
        journal = cls(path, finished)
        if not os.access(path, os.W_OK):
            raise UserError(f"{path}: cannot write here; name another file")
        return journal

    def keep(self, name: str, value: Any) -> Any:
        """Keep what a cell gave, and return it as it will be read."""
        line = json.dumps([name, value], default=lambda number: number.tolist())
        if self.path is not None:
            # One write to the end of the file: a line is there whole, but for the death of the
            # machine or a full disk meanwhile.
            with explained(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        self.finished[name] = json.loads(line)[1]
        return self.finished[name]


def sweep(
    work: Mapping[str, Callable[[], R]],
    kind: type[R],
    *,
    workers: Workers | None = None,
    journal: Journal | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> dict[str, R]:
    """Do the cells that are not finished yet, and return all of `work` in its order.

    Parameters
    ----------
    work : mapping of str to callable
        Name of each cell, and a picklable job that computes it.
    kind : type
        What the jobs return: a dataclass, made again from its values in JSON.
    workers : Workers, optional
        Default: this process. Results do not depend on it.
    journal : Journal, optional
        Where finished cells are kept.
    advance : callable
        Called with the number of cells done since the last call; with those that were finished
        earlier first.

    Raises
    ------
    UserError
        As `in_order`; or if a finished cell in the journal is not of this kind.
    """
    journal = Journal() if journal is None else journal
    missing = [name for name in work if name not in journal.finished]
    advance(len(work) - len(missing))
    with kept_in(journal.path, lambda: bool(journal.finished)):
        results = in_order((work[name] for name in missing), workers)
        for name, result in zip(missing, results, strict=True):
            journal.keep(name, asdict(result))
            advance(1)
    try:
        return {name: structured(journal.finished[name], kind, exact=True) for name in work}
    except cattrs.BaseValidationError as error:
        reasons = "; ".join(cattrs.transform_error(error))
        raise UserError(
            f"{journal.path}: holds cells of another sweep ({reasons}); name another file"
        ) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the settings and the finished cells, and cut off a line that was not finished."""
    try:
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        lines = [json.loads(line) for line in whole.splitlines()]
        settings = dict(lines[0]["settings"])
        finished = {str(name): value for name, value in lines[1:]}
    except OSError as error:
        raise UserError(f"{path}: cannot read it ({error.strerror})") from error
    except (ValueError, TypeError, LookupError) as error:
        raise UserError(
            f"{path}: damaged, or no file of finished cells; delete it, or name another"
        ) from error
    if len(whole) < len(text):
        os.truncate(path, len(whole))
    return settings, finished
