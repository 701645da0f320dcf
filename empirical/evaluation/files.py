"""An evaluation as a JSON file: written once finished, read by the report.

The file is `Evaluation` and nothing else, under the format's name and version. JSON has no NaN, so
an end of an interval that could not be computed is null.
"""

from pathlib import Path

from empirical.evaluation.paired import FORMER
from empirical.evaluation.run import Evaluation
from stopping.support.documents import Format, as_json, structured
from stopping.support.files import write_atomic

FORMAT = Format(
    "layer-stopping evaluation",
    2,
    "evaluation",
    "make one with `stopping evaluate --out`",
    former=FORMER,
)


def evaluation_text(result: Evaluation) -> str:
    """Serialise with the format's name and version."""
    return as_json(FORMAT.wrap(vars(result)))


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
    return structured(FORMAT.read(path), Evaluation, f"{path}: the evaluation")
