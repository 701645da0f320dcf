"""Tables and prose that fit the page, however narrow: no number is ever cut; and what cells hold.

A column that is aligned to the left holds text, which wraps between words; any other holds numbers,
which do not wrap, but for an interval, which may stand below its estimate. Columns that have no
room side by side are continued below, behind the first one again.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from stopping.support.statistics import Interval

PAGE = 100
"""Columns of the widest page: longer lines of prose are hard to read."""

TEXT = 16
"""Columns that a text keeps before a table is divided."""

NONE = "–"
COLOURS = {
    **dict.fromkeys(("holds", "better"), "green"),
    **dict.fromkeys(("fails", "worse", "violated"), "red"),
}


def table(title: str, *columns: str, caption: str | None = None) -> Table:
    """Return an empty table whose first column is left-aligned and the others right-aligned."""
    result = Fitted(
        title=title, caption=caption, box=box.HORIZONTALS, padding=(0, 1, 0, 0), pad_edge=False
    )
    for i, column in enumerate(columns):
        result.add_column(column, justify="left" if i == 0 else "right")
    return result


def prose(text: str) -> Constrain:
    """Text as it is, not markup, wrapped once: to the terminal or the page, the narrower one."""
    return Constrain(_Prose(text), PAGE)


@dataclass(frozen=True)
class _Prose:
    """Text that is broken at spaces alone: rich would break at a no-break space, too."""

    text: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self.text.split("\n")
        wrapped = (wrap(line, options.max_width, break_on_hyphens=False) for line in lines)
        yield Text("\n".join("\n".join(line) for line in wrapped))


def records_table(
    title: str, records: Sequence[Mapping[str, Any]], caption: str | None = None
) -> Table:
    """Return a table with a column for each name, whatever the values are."""
    names = list(dict.fromkeys(name for record in records for name in record))
    texts = {name for name in names if any(isinstance(r.get(name), (str, list)) for r in records)}
    result = table(title, *(name.replace("_", " ") for name in names), caption=caption)
    result.show_header = any(map(str.strip, names))
    for name, column in zip(names, result.columns, strict=True):
        column.justify = "left" if name in texts else "right"
    for record in records:
        result.add_row(*(Text(cell(record.get(name))) for name in names))
    return result


def cell(value: Any) -> str:
    """Write any value: four digits of a number, an estimate with its interval."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, float):
        return number(value, ".4g")
    if isinstance(value, (list, tuple)):
        return " ".join(cell(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {cell(item)}" for name, item in value.items())
    return estimate(value, ".4g") if hasattr(value, "estimate") else str(value)


def number(value: float | None, pattern: str) -> str:
    """Format a number; a dash where there is none."""
    if value is None or math.isnan(value):
        return NONE
    # A rounded zero has no sign.
    text = format(value, pattern).replace("-", "−")
    return text if text.strip("−+0.%") else text.strip("−+")


def span(interval: "Interval | None", pattern: str) -> str:
    """Ends of an interval; a dash where there are none."""
    if interval is None or math.isnan(interval.low):
        return NONE
    return f"[{number(interval.low, pattern)}, {number(interval.high, pattern)}]"


def estimate(interval: "Interval | None", pattern: str) -> str:
    """Estimate with the ends of its interval; a dash where there is none."""
    if interval is None:
        return NONE
    if math.isnan(interval.low):
        return number(interval.estimate, pattern)
    return f"{number(interval.estimate, pattern)} {span(interval, pattern)}"


def percent(interval: "Interval") -> "Interval":
    """The same interval in percentage points."""
    return replace(
        interval,
        estimate=100 * interval.estimate,
        low=100 * interval.low,
        high=100 * interval.high,
    )


def count(n: int, thing: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def status_text(status: str | None) -> Text:
    """Render a status in its colour; a dash where there is none."""
    return Text(NONE) if status is None else Text(str(status), style=COLOURS.get(status, "yellow"))


def html(rows: Table) -> str:
    """Write a table for a notebook, in the notebook's own colours."""
    console = Console(force_jupyter=False)

    def line(tag: str, cells: Iterable[RenderableType]) -> str:
        return "".join(
            f'<{tag} style="text-align: {column.justify}">'
            f"{escape(_text(console, text).plain)}</{tag}>"
            for column, text in zip(rows.columns, cells, strict=True)
        )

    def note(tag: str, text: Any) -> str:
        return f"<{tag}>{escape(_text(console, text).plain)}</{tag}>" if text else ""

    body = zip(*(column.cells for column in rows.columns), strict=True)
    lines = "".join(f"<tr>{line('td', cells)}</tr>" for cells in body)
    return (
        f"<table>{note('caption', rows.title)}"
        f"<thead><tr>{line('th', (column.header for column in rows.columns))}</tr></thead>"
        f"<tbody>{lines}</tbody></table>{note('p', rows.caption)}"
    )


class Fitted(Table):
    """A table that chooses the widths of its columns, and continues them below if need be."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render title, pieces and caption; the prose is as wide as the page, not the table."""
        if self.title:
            yield Constrain(_text(console, self.title, "table.title"), PAGE)
        for widths in layout(self, console, options.max_width):
            yield from Table.__rich_console__(_piece(self, console, widths), console, options)
        if self.caption:
            yield Constrain(_text(console, self.caption, "table.caption"), PAGE)


@dataclass(frozen=True)
class Needs:
    """Widths of a column: as it is, with wrapped headings, with intervals below, between words."""

    whole: int
    cells: int
    least: int


LEVELS = ("cells", "least")
"""What a table tries before it is divided."""


def layout(rows: Table, console: Console, width: int) -> list[dict[int, int]]:
    """Return the columns of each piece, in order, with their widths."""
    needs = [_needs(column, console, rows.show_header) for column in rows.columns]
    free = _Free(rows, width)
    everything = tuple(range(len(needs)))
    whole = _widths(needs, everything, free(len(needs)))
    if whole is not None or len(needs) < 3:
        return [whole or {i: needs[i].least for i in everything}]
    unbroken, broken = (_divided(needs, free, level) for level in LEVELS)
    level, fewest = (LEVELS[0], unbroken) if len(unbroken) <= len(broken) else (LEVELS[1], broken)
    even = _divided(needs, free, level, most=-(-(len(needs) - 1) // len(fewest)))
    return even if len(even) == len(fewest) else fewest


@dataclass(frozen=True)
class _Free:
    """Width that is left to the cells of so many columns."""

    rows: Table
    width: int

    def __call__(self, columns: int) -> int:
        rows = self.rows
        _, right, _, left = rows.padding if isinstance(rows.padding, tuple) else (0, 1, 0, 1)
        rules = 0 if rows.box is None else columns - 1 + 2 * rows.show_edge
        return self.width - rules - (left + right) * columns


def _divided(
    needs: Sequence[Needs], free: _Free, level: str, most: int | None = None
) -> list[dict[int, int]]:
    """Fill one piece after the other, each with the first column and at most `most` others."""
    pieces: list[dict[int, int]] = []
    rest = list(range(1, len(needs)))
    while rest:
        sizes = range(min(len(rest), most or len(rest)), 1, -1)
        fits = (n for n in sizes if _widths(needs, (0, *rest[:n]), free(n + 1), (level,)))
        taken = next(fits, 1)
        piece = (0, *rest[:taken])
        found = _widths(needs, piece, free(len(piece)), (level,))
        pieces.append(found or {i: needs[i].least for i in piece})
        rest = rest[taken:]
    return pieces


def _widths(
    needs: Sequence[Needs], piece: Sequence[int], free: int, levels: Sequence[str] = LEVELS
) -> dict[int, int] | None:
    """Return widths of the columns `piece` that fit, the least broken ones; None if none do."""
    wanted = {i: needs[i].whole for i in piece}
    if sum(wanted.values()) <= free:
        return wanted
    for level in levels:
        found: dict[int, int] = {i: getattr(needs[i], level) for i in piece}
        spare = free - sum(found.values())
        if spare >= 0:
            for _ in range(spare):
                short = max(piece, key=lambda i: wanted[i] - found[i])
                found[short] += wanted[short] > found[short]
            return found
    return None


def _needs(column: Column, console: Console, header: bool) -> Needs:
    cells = [_text(console, cell).plain for cell in column.cells]
    names = [_text(console, column.header).plain] if header else []
    lines = [line for cell in cells for line in cell.split("\n")]
    words = _widest(word for name in names for word in name.split())
    whole = _widest(lines)
    if column.no_wrap:
        unbroken = least = whole
    elif column.justify == "left":
        unbroken = _widest(word for line in lines for word in line.split())
        unbroken = least = max(unbroken, min(whole, TEXT))
    else:
        unbroken = whole
        least = _widest(part for line in lines for part in _below(line).split("\n"))
    return Needs(max(_widest(names), whole), max(words, unbroken), max(words, least))


def _widest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)


def _below(cell: str) -> str:
    """Put an interval below its estimate."""
    return cell.replace(" [", "\n[")


def _text(console: Console, cell: RenderableType, style: str = "") -> Text:
    if isinstance(cell, Text):
        return cell
    return console.render_str(str(cell), style=style, highlight=False)


def _piece(rows: Table, console: Console, widths: dict[int, int]) -> Table:
    """Copy the columns that `widths` names, which are then that wide."""
    piece = copy(rows)
    piece.title = piece.caption = None
    piece.columns = []
    for place, (i, width) in enumerate(widths.items()):
        cells = [_fitted(cell, console, width) for cell in rows.columns[i].cells]
        column = replace(
            rows.columns[i], _index=place, _cells=cells, width=width, no_wrap=False, overflow="fold"
        )
        piece.columns.append(column)
    return piece


def _fitted(cell: RenderableType, console: Console, width: int) -> RenderableType:
    text = _text(console, cell)
    if _widest(text.plain.split("\n")) <= width or " [" not in text.plain:
        return cell
    return Text(_below(text.plain), style=text.style)
