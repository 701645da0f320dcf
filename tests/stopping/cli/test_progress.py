"""Progress: lines where there is no terminal, no remaining time where steps are not alike."""

import io
import threading
import time

import pytest
from rich.console import Console
from rich.progress import TimeRemainingColumn

from stopping.cli.progress import Lines, progress


class Seen(io.StringIO):
    """Text, and an event at its first line."""

    def __init__(self) -> None:
        super().__init__()
        self.line = threading.Event()

    def write(self, text: str) -> int:
        if "\n" in text:
            self.line.set()
        return super().write(text)


def test_without_a_terminal_a_step_that_takes_long_is_seen_to_go_on() -> None:
    seen = Seen()
    console = Console(file=seen, soft_wrap=True)
    with Lines("{task.fields[rate]}", console=console, first=0.01) as bar:
        task = bar.add_task("claims [all]", total=2000, rate="3 tokens/s")
        bar.update(task, advance=1200)
        assert seen.line.wait()  # no further update: the clock writes
    line = seen.getvalue().splitlines()[0]
    assert line.startswith("claims [all]: 1,200 of 2,000, 00:00:0")
    assert line.endswith("3 tokens/s")
    assert "\x1b" not in seen.getvalue()


def test_lines_are_no_flood() -> None:
    seen = io.StringIO()
    with Lines(console=Console(file=seen), first=60.0) as bar:
        for _ in bar.track(range(10_000), description="fast"):
            pass
    assert seen.getvalue() == ""


def test_a_disabled_bar_writes_nothing() -> None:
    seen = io.StringIO()
    bar = Lines(console=Console(file=seen), first=0.001)
    bar.disable = True
    with bar:
        bar.add_task("shard 2", total=3)
        time.sleep(0.05)
    assert seen.getvalue() == ""


@pytest.mark.parametrize("alike", [False, True])
def test_the_remaining_time_is_shown_only_where_steps_are_alike(
    alike: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    monkeypatch.setattr("stopping.cli.progress.Console", lambda **_: terminal)
    columns = progress(alike=alike).columns
    assert any(isinstance(column, TimeRemainingColumn) for column in columns) is alike
