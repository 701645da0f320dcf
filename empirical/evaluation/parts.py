"""Finished batches of answers, so that a killed evaluation resumes.

They stand in a folder beside the results, `FILE.parts/`: one JSON file for each rule and batch,
each whole or not there, and the settings that they depend on. The rules are not among these
settings, so another rule may be added later at its own cost; the folder also keeps all texts, and
may be deleted once neither is of interest.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empirical.evaluation.answers import Answer
from empirical.evaluation.trail import restored
from empirical.traces.parts import open_parts
from stopping.errors import UserError
from stopping.support.documents import plain
from stopping.support.files import write_atomic


@dataclass(frozen=True)
class Parts:
    """The batches of one evaluation; make it with `Parts.open`."""

    folder: Path

    @classmethod
    def open(cls, out: Path, settings: Mapping[str, Any], fresh: bool = False) -> "Parts":
        """Open the batches beside the results file `out`, which may be none yet.

        Raises
        ------
        UserError
            If an evaluation with other settings is there, or `out` is there without its batches.
        """
        return cls(open_parts(out, settings, fresh))

    def finished(self, rule: str, number: int) -> tuple[Answer, ...] | None:
        """Return batch `number` of a rule if it was finished earlier.

        Raises
        ------
        UserError
            If its file is damaged.
        """
        path = self._path(rule, number)
        if not path.is_file():
            return None
        try:
            return tuple(map(_answer, json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}: damaged; delete it, and only this batch runs anew") from error

    def write(self, rule: str, number: int, answers: Sequence[Answer]) -> None:
        """Keep batch `number` of a rule."""
        rows = [plain(answer) for answer in answers]
        write_atomic(self._path(rule, number), json.dumps(rows, ensure_ascii=False))

    def _path(self, rule: str, number: int) -> Path:
        return self.folder / re.sub(r"[^\w.,=-]+", "_", rule) / f"batch-{number:05d}.json"


def _answer(row: dict[str, Any]) -> Answer:
    trail = row.pop("trail", None)
    return Answer(**row, trail=None if trail is None else restored(trail))
