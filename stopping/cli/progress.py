"""How far a command is: a bar on a terminal, a line now and then where there is none.

No time that remains is guessed, unless a command says that its steps are alike: where one step
takes seconds and the next minutes, the guess is false.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

FIRST, LONGEST = 10.0, 60.0
"""Seconds before the first line, and at most between two: a log of hours stays readable."""


def progress(*columns: str, alike: bool = False) -> Progress:
    """Return a bar on standard error, or lines there if that is no terminal.

    Parameters
    ----------
    *columns : str
        Extra text columns in rich's format, such as `"{task.fields[rate]}"`.
    alike : bool
        All steps take about as long: the remaining time is shown.
    """
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        return Lines(*columns, console=Console(stderr=True, highlight=False, soft_wrap=True))
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *(TextColumn(column) for column in columns),
        TimeElapsedColumn(),
        *([TimeRemainingColumn()] if alike else []),
        console=console,
        transient=True,
    )


@contextmanager
def counting(what: str, total: int, alike: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a bar of `total` steps; yield what to call with the steps done since the last call."""
    with progress(alike=alike) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


class Lines(Progress):
    """Progress as plain lines, written by a thread: a step of minutes is seen to go on, too."""

    def __init__(self, *columns: str, console: Console, first: float = FIRST) -> None:
        super().__init__(console=console, auto_refresh=False)
        self.extra, self.first = columns, first
        self._over = threading.Event()
        self._writer: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write, unless disabled."""
        if not self.disable and self._writer is None:
            self._over.clear()
            self._writer = threading.Thread(target=self._write, daemon=True)
            self._writer.start()

    def stop(self) -> None:
        """Write no more."""
        self._over.set()
        if self._writer is not None:
            self._writer.join()
            self._writer = None

    def refresh(self) -> None:
        """Do nothing: lines come by the clock."""

    def _write(self) -> None:
        pause = self.first
        while not self._over.wait(pause):
            for task in self.tasks:
                if not task.finished:
                    self.console.print(self._line(task), markup=False)
            pause = min(2 * pause, LONGEST)

    def _line(self, task: Task) -> str:
        """Such as `sweep: 812 of 2,205, 0:01:30`."""
        total = "" if task.total is None else f" {task.completed:,.0f} of {task.total:,.0f},"
        extra: list[Any] = [column.format(task=task) for column in self.extra]
        parts = [time.strftime("%H:%M:%S", time.gmtime(task.elapsed or 0.0)), *filter(None, extra)]
        return f"{task.description}:{total} {', '.join(parts)}"
