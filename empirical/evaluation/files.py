"""An evaluation as a JSON file: written once finished, read by the report.

The file is `Evaluation` and nothing else, under the format's name and version. JSON has no NaN, so
an end of an interval that could not be computed is null.
"""

from pathlib import Path

from empirical.evaluation.paired import FORMER
from empirical.evaluation.run import Evaluation
from stopping.support.documents import Format

FORMAT = Format(
    "layer-stopping evaluation",
    2,
    "evaluation",
    "make one with `stopping evaluate --out`",
    former=FORMER,
)


def read_evaluation(path: Path) -> Evaluation:
    """Read what `FORMAT.write` wrote.

    Raises
    ------
    UserError
        If the file is missing, no evaluation, of a newer format, or incomplete.
    """
    return FORMAT.load(path, Evaluation)
