"""Traces of real models that ship with the package, with their provenance inside each file."""

from importlib.resources import files
from pathlib import Path

from stopping.errors import UserError

__all__ = ["bundled_traces"]


def bundled_traces() -> dict[str, Path]:
    """Return the bundled trace files by name, in alphabetical order.

    Raises
    ------
    UserError
        If this installation carries none.
    """
    folder = Path(str(files(__name__)))
    found = {path.stem: path for path in sorted(folder.glob("*.parquet"))}
    if not found:
        raise UserError(
            "this installation bundles no traces; name a trace file, or make one with "
            "`stopping trace`"
        )
    return found
