"""Tables fit the page: no number is cut or broken, columns without room are continued below."""

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from stopping.cli.ui import output, prose, table

ESTIMATE = "+0.0123 [−0.0100, +0.0150]"
COLUMNS = (
    "rule",
    "log-loss, nats",
    "accuracy, points",
    "moved",
    "expected",
    "projections",
    "verdict",
)


def printed(what: object, width: int) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(what)
    return text.getvalue()


def wide() -> object:
    rows = table("Held-out change", *COLUMNS, caption="expected: by the rule itself")
    for rule in ("search", "tolerance:tau=0.5", "hindsight"):
        verdict = Text("undecided", style="red")
        rows.add_row(rule, ESTIMATE, ESTIMATE, "12.3%", "+0.0123", "3.4", verdict)
    return rows


@pytest.mark.parametrize("width", [130, 80, 60, 48])
def test_every_number_is_whole_at_any_width(width: int) -> None:
    text = printed(wide(), width)
    assert "…" not in text
    assert max(map(cell_len, text.splitlines())) <= width
    for piece, times in (("+0.0123", 9), ("[−0.0100, +0.0150]", 6), ("12.3%", 3), ("undecided", 3)):
        assert text.count(piece) == times, (piece, text)


def test_a_page_that_is_wide_enough_holds_everything_side_by_side() -> None:
    text = printed(wide(), 130)
    assert text.count(ESTIMATE) == 6
    assert text.count("search") == 1


def test_continued_columns_stand_behind_the_first_one_again() -> None:
    text = printed(wide(), 80)
    assert text.count("search") == 2
    assert text.count("Held-out change") == text.count("expected: by") == 1


def test_an_interval_stands_below_its_estimate_before_a_table_is_divided() -> None:
    rows = table("", "rule", "loss", "accuracy")
    rows.add_row("search", ESTIMATE, ESTIMATE)
    text = printed(rows, 52)
    assert text.count("search") == 1
    assert len(re.findall(r"\+0\.0123 +\+0\.0123 *\n +\[−0\.0100, \+0\.0150\]", text)) == 1


def test_text_wraps_between_words_and_labels_are_never_cut() -> None:
    statement = "expected excess by quadrature is what the simulator finds"
    rows = table("Claims", "claim", "statement", "bound")
    rows.columns[1].justify = "left"
    rows.add_row("T12.excess", Text(statement), "2")
    assert {"T12.excess", *statement.split()} <= set(printed(rows, 40).split())


def test_prose_is_not_broken_within_an_interval_or_a_name() -> None:
    interval = "+0.17\N{NO-BREAK SPACE}[+0.15,\N{NO-BREAK SPACE}+0.20] well-known nats"
    text = printed(prose(f"{interval} and {interval}, [bold]\nsecond paragraph"), 24)
    lines = [line.rstrip() for line in text.splitlines()]
    first = interval.removesuffix(" well-known nats")
    assert lines == [
        *(first, "well-known nats and", first, "well-known nats, [bold]"),
        "second paragraph",
    ]


def test_prose_wraps_once() -> None:
    words = "a sentence of words that is longer than any line of eighty columns can be, by far, so "
    lines = printed(prose(words * 4), 80).splitlines()
    assert all(len(line) > 60 for line in lines[:-1])
    assert max(map(len, printed(prose(words * 4), 300).splitlines())) <= 100


def test_piped_output_is_as_wide_as_columns_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert output().width == 100
    monkeypatch.setenv("COLUMNS", "72")
    assert output().width == 72
