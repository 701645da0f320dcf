"""An evaluation as a JSON file: written once finished, read by the report.

The file is `Evaluation` and nothing else, under the format's name and version. JSON has no NaN, so
an end of an interval that could not be computed is null.
"""

import json
import math
from pathlib import Path
from typing import Any

import cattrs

from empirical.evaluate.run import Evaluation
from stopping.cli.ui import as_json
from stopping.errors import UserError
from stopping.files import write_atomic

FORMAT = "layer-stopping evaluation"
VERSION = 1


def evaluation_text(result: Evaluation) -> str:
    """Serialise with the format's name and version."""
    return as_json({"format": FORMAT, "version": VERSION, **vars(result)})


def write_evaluation(path: Path, result: Evaluation) -> None:
    """Write an evaluation, whole or not at all."""
    write_atomic(path, evaluation_text(result) + "\n")


def read_evaluation(path: Path) -> Evaluation:
    """Read what `write_evaluation` wrote.

    Raises
    ------
    UserError
        If the file is missing, no evaluation, of a newer format, or incomplete.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; make one with `stopping evaluate --out`")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise KeyError("format")
        found = int(content.pop("version"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: no evaluation (not JSON of the format {FORMAT!r}); make one with "
            "`stopping evaluate --out`"
        ) from error
    if found > VERSION:
        raise UserError(
            f"{path}: evaluation format version {found}, this package reads up to {VERSION}; "
            "upgrade layer-stopping"
        )
    try:
        return _converter().structure(content, Evaluation)
    except cattrs.BaseValidationError as error:
        reasons = "; ".join(cattrs.transform_error(error))
        raise UserError(f"{path}: the evaluation is incomplete or damaged ({reasons})") from error


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_structure_hook(float, lambda value, _: _number(value))
    return converter


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
