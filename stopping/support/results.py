"""Results that print themselves, as text and in a notebook, and hand out their rows.

A result says what its rows are, and may say what is printed of them; all else follows:

    class Certificate(Result):
        def items(self):
            return entries(self, "token", "first", "last", "excess")

    print(certificate)                       # a table as wide as the page
    certificate                              # in a notebook, HTML
    pandas.DataFrame(certificate.records())  # or certificate.to_arrow().to_pandas()

What a command prints is `report` too: a console of rich takes a result as it is.
"""

import dataclasses
import shutil
from collections.abc import Iterable, Iterator
from enum import Enum
from html import escape
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

Report: TypeAlias = "Iterator[Table | Text | str]"
"""What is printed, one after the other."""
HEAD = 20
"""Rows that are printed of a result that says no more about it."""


class Result:
    """What a computation found: it prints as tables and hands out its rows."""

    def __init_subclass__(cls, **options: Any) -> None:
        # A dataclass writes its own `__repr__` unless the class has one.
        super().__init_subclass__(**options)
        if "__repr__" not in vars(cls):
            cls.__repr__ = cls.__str__  # type: ignore[assignment, method-assign]

    def items(self) -> Iterable[Any]:
        """What a record stands for: dataclasses or mappings. Default: one row, the result."""
        return (self,)

    def report(self) -> Report:
        """What is printed: tables and sentences.

        Default: a table of the first rows, without what takes more than a few numbers.
        """
        from stopping.support.tables import records_table

        head = [
            {
                name: value
                for name, value in _record(row, whole=False).items()
                if not (isinstance(value, list) and len(value) > HEAD)
            }
            for row in islice(self.items(), HEAD + 1)
        ]
        if type(self).items is Result.items:
            head = [{"": name.replace("_", " "), " ": value} for name, value in head[0].items()]
            yield records_table(type(self).__name__, head)
            return
        more = "further rows: records()" if len(head) > HEAD else None
        yield records_table(type(self).__name__, head[:HEAD], more)

    def records(self) -> list[dict[str, Any]]:
        """Return a mapping for each row, of plain values.

        A quantity with an interval gives three: its estimate under its own name, and its ends with
        `_low` and `_high`. Quantities within others have both names, joined by `_`. What a row has
        not is None.
        """
        found = [_record(row, whole=True) for row in self.items()]
        names = dict.fromkeys(name for record in found for name in record)
        return [{**names, **record} for record in found]

    def to_arrow(self) -> "pa.Table":
        """Return the records as a table of pyarrow (`.to_pandas()` makes it a data frame)."""
        import pyarrow as pa

        return pa.Table.from_pylist(self.records())

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from stopping.support.tables import prose

        for part in self.report():
            yield prose(part) if isinstance(part, str) else part

    def __str__(self) -> str:
        from rich.console import Console

        from stopping.support.tables import PAGE

        width = min(PAGE, shutil.get_terminal_size((PAGE, 1)).columns)
        text = StringIO()
        Console(file=text, width=width, highlight=False, force_jupyter=False).print(self)
        return "\n".join(line.rstrip() for line in text.getvalue().strip("\n").split("\n"))

    def _repr_html_(self) -> str:
        from rich.table import Table

        from stopping.support.tables import html

        return "\n".join(
            html(part) if isinstance(part, Table) else f"<p>{escape(str(part))}</p>"
            for part in self.report()
        )


def entries(result: object, index: str, *names: str) -> Iterator[dict[str, Any]]:
    """Iterate over arrays of a result that belong together; `index` names the place in them."""
    columns = [getattr(result, name) for name in names]
    for place, values in enumerate(zip(*columns, strict=True)):
        yield {index: place, **dict(zip(names, values, strict=True))}


def _record(row: Any, whole: bool) -> dict[str, Any]:
    """Name all values of a row; intervals remain in one piece unless `whole`."""
    if not dataclasses.is_dataclass(row):
        return {name: _plain(value) for name, value in row.items()}
    found: dict[str, Any] = {}
    for field in dataclasses.fields(row):
        name, value = field.name, getattr(row, field.name)
        if hasattr(value, "estimate") and hasattr(value, "low"):
            ends = {f"{name}_low": value.low, f"{name}_high": value.high}
            found |= {name: value.estimate, **ends} if whole else {name: value}
        elif dataclasses.is_dataclass(value):
            found |= {f"{name}_{inner}": v for inner, v in _record(value, whole).items()}
        else:
            found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    """Turn what a row holds into values of Python; NaN remains what it is."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return _record(value, whole=True) if dataclasses.is_dataclass(value) else value
