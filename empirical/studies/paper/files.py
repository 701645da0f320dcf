"""The tables of `stopping paper` as a JSON file, and back."""

from pathlib import Path

from empirical.evaluation.paired import FORMER
from empirical.studies.paper.results import PaperResult
from stopping.support.documents import Format

FORMAT = Format(
    "layer-stopping paper tables",
    2,
    "file of paper tables",
    "make one with `stopping paper`",
    former=FORMER,
)


def read_paper(path: Path) -> PaperResult:
    """Read `paper.json` as `stopping paper` wrote it.

    Raises
    ------
    UserError
        If the file is missing, of another kind or a newer format, or incomplete.
    """
    return FORMAT.load(path, PaperResult)
