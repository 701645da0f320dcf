"""Results print as tables, as text and as HTML, and hand out their rows."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from stopping.support.results import HEAD, Report, Result, entries
from stopping.support.statistics import Interval
from stopping.support.tables import cell, table


@dataclass(frozen=True)
class Inner:
    gain: Interval
    tokens: int


@dataclass(frozen=True)
class Row:
    name: str
    inner: Inner
    loss: float


@dataclass(frozen=True)
class Found(Result):
    seed: int
    of: tuple[Row, ...]

    def items(self) -> tuple[Row, ...]:
        return self.of


@dataclass(frozen=True, eq=False)
class Arrays(Result):
    x: NDArray[np.float64]
    depth: NDArray[np.int64]

    def items(self) -> Iterable[Any]:
        return entries(self, "token", "depth", "x")


ROWS = tuple(
    Row(f"<rule {i}>", Inner(Interval(0.5 * i, -0.25, 2.0), 10**i), -0.0625 * i) for i in range(3)
)


def test_records_are_flat_and_keep_the_ends_of_intervals() -> None:
    assert Found(7, ROWS).records()[2] == {
        "name": "<rule 2>",
        "inner_gain": 1.0,
        "inner_gain_low": -0.25,
        "inner_gain_high": 2.0,
        "inner_tokens": 100,
        "loss": -0.125,
    }


def test_records_become_columns() -> None:
    found = Found(7, ROWS).to_arrow()
    assert isinstance(found, pa.Table)
    assert found.column("inner_gain").to_pylist() == [0.0, 0.5, 1.0]
    assert Found(7, ()).to_arrow().num_rows == 0


def test_arrays_have_a_row_for_each_token() -> None:
    found = Arrays(np.array([[0.5, math.nan], [1.5, 2.5]]), np.array([3, 4]))
    records = found.records()
    assert records[1] == {"token": 1, "depth": 4, "x": [1.5, 2.5]}
    assert math.isnan(records[0]["x"][1])  # no number, and no None
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        Arrays(np.zeros((1, 2)), np.array([3, 4])).records()


def test_text_is_a_table_and_so_is_what_a_session_shows() -> None:
    text = str(Found(7, ROWS))
    lines = [line.split() for line in text.splitlines()]
    assert ["<rule", "1>", "0.5", "[−0.25,", "2]", "10", "−0.0625"] in lines
    assert repr(Found(7, ROWS)) == text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_long_results_are_cut_and_say_so() -> None:
    n = HEAD + 1
    text = str(Arrays(np.zeros((n, 1)), np.arange(n)))
    assert f" {HEAD - 1} " in text
    assert f" {HEAD} " not in text
    assert "records()" in text
    assert "records()" not in str(Arrays(np.zeros((HEAD, 1)), np.arange(HEAD)))


def test_a_result_without_rows_of_its_own_names_its_values() -> None:
    @dataclass(frozen=True)
    class Single(Result):
        least_loss: float
        converged: bool

    lines = [line.split() for line in str(Single(0.25, True)).splitlines()]
    assert ["least", "loss", "0.25"] in lines
    assert ["converged", "yes"] in lines
    assert Single(0.25, True).records() == [{"least_loss": 0.25, "converged": True}]


def test_text_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, str(Found(7, ROWS)).splitlines())) <= 40


class _Cells(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.cells.append((self.open[-1], data))


def test_html_has_the_cells_of_the_text_and_nothing_to_run() -> None:
    class Told(Found):
        def report(self) -> Report:
            yield from super().report()
            yield "a < b"

    found = _Cells(Told(7, ROWS)._repr_html_())
    assert not found.open
    assert next(text for tag, text in found.cells if tag == "th") == "name"
    assert ("td", "<rule 0>") in found.cells
    assert ("td", "1 [−0.25, 2]") in found.cells
    assert ("p", "a < b") in found.cells


def test_html_reads_markup_as_the_terminal_does() -> None:
    rows = table("Title", "a", "b", caption="note")
    rows.add_row("[bold]x[/]", "2")

    class Marked(Result):
        def report(self) -> Report:
            yield rows

    cells = _Cells(Marked()._repr_html_()).cells
    assert cells == [
        *(("caption", "Title"), ("th", "a"), ("th", "b")),
        *(("td", "x"), ("td", "2"), ("p", "note")),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (True, "yes"),
        (-1234567, "−1,234,567"),
        (-0.0, "0"),
        (-1.23456, "−1.235"),
        (Interval(1.0, math.nan, math.nan), "1"),
        ([0.5, None], "0.5 –"),
        ({"a": 1}, "a 1"),
    ],
)
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text
