"""Results on real models that ship with the package, with their provenance inside each file.

Trace files (`MODEL.MODE.parquet` of the raw lens, `MODEL.MODE.temperature.parquet` of a calibrated
one), evaluations (`MODEL.evaluation.json`), tables of `stopping paper` (`MODEL.paper.json`),
summaries of runs of lm-evaluation-harness (`MODEL.harness.json`), the slow parts of the report on
the traces (`report.stored.json`), the problems that all of them are about (`problems.jsonl.gz`),
and means by layer of larger models that others published (`public.means.csv`).
"""

from importlib.resources import files
from pathlib import Path

from stopping.errors import UserError

__all__ = [
    "bundled_evaluations",
    "bundled_harness_runs",
    "bundled_papers",
    "bundled_traces",
    "public_means",
    "stored_parts",
]


def bundled_traces() -> dict[str, Path]:
    """Return the bundled trace files by name, in alphabetical order.

    Raises
    ------
    UserError
        If this installation carries none.
    """
    found = _found(".parquet")
    if not found:
        raise UserError(
            "this installation bundles no traces; name a trace file, or make one with "
            "`stopping trace`"
        )
    return found


def bundled_evaluations() -> dict[str, Path]:
    """Return the bundled evaluations by name of the model; none where none were shipped."""
    return _found(".evaluation.json")


def bundled_papers() -> dict[str, Path]:
    """Return the bundled tables of `stopping paper` by name of the model; none if none shipped."""
    return _found(".paper.json")


def bundled_harness_runs() -> dict[str, Path]:
    """Return the bundled summaries of harness runs by name of the model; none if none shipped."""
    return _found(".harness.json")


def stored_parts() -> Path:
    """Return where the slow parts of the report are kept; nothing may be there."""
    return Path(str(files(__name__))) / "report.stored.json"


def public_means() -> Path:
    """Return the table of public means by layer, see the folder's README for its source."""
    return Path(str(files(__name__))) / "public.means.csv"


def _found(ending: str) -> dict[str, Path]:
    folder = Path(str(files(__name__)))
    return {path.name.removesuffix(ending): path for path in sorted(folder.glob(f"[!.]*{ending}"))}
