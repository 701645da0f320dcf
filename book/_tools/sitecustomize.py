"""Writes which files and folders of the repository a process opens into the file $BOOK_READS.

Python imports a module of this name when it starts: the kernels of the book's pages find it on
their path, and so do the processes that they start. Each name is written at once, since a kernel is
killed when its page is done and a forked child leaves without a farewell.
"""

import os
import sys
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).parents[2]) + os.sep
IMPORTS = ("importlib._bootstrap_external>", "importlib/metadata/__init__.py")
"""These list all folders of the path; what lies beside what they find is nothing to a page."""


def watch(log: str) -> None:
    """Write down, from now on, what this process and its forks open."""
    Path(log).touch()  # to have opened nothing is known too
    seen: set[str] = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.listdir", "os.scandir"):
            return
        given = "." if arguments[0] is None else arguments[0]
        if isinstance(given, int):
            return  # a descriptor: its file was opened before, and seen
        path = os.path.abspath(os.fsdecode(given))  # noqa: PTH100 (called for every file)
        if path in seen or path == log or not path.startswith(ROOT):
            return
        if event != "open" and sys._getframe(1).f_code.co_filename.endswith(IMPORTS):
            return
        seen.add(path)
        with Path(log).open("a", encoding="utf-8") as lines:
            lines.write(f"{path}\n")

    sys.addaudithook(note)


if wanted := os.environ.get("BOOK_READS"):
    watch(wanted)
