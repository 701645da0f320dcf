"""What the book's pages print, as other processors would print it.

    python -m tests.pages              all pages
    python -m tests.pages bounds       some, by name

Every page's cells are run with plain x86-64 instructions and with those of this processor; tables,
numbers in the prose and figures must be the same to the last character. Exit code 1 if any differs.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import unified_diff

from tests.processors import OWN, PLAIN, ROOT, Setting

PAGES = ROOT / "book" / "pages"
CELL = re.compile(r"^```\{code-cell\} python\n((?::[^\n]*\n)*)(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = 40
"""Lines of a difference."""

Printed = dict[str, list[str]]
"""For each page, what its cells printed, line by line."""


def cells(page: str) -> list[str]:
    """Return the code of a page's cells, without their options."""
    return [code for _, code in CELL.findall((PAGES / f"{page}.md").read_text("utf-8"))]


def computed() -> list[str]:
    """Return the names of the pages that have cells."""
    return [path.stem for path in sorted(PAGES.glob("*.md")) if cells(path.stem)]


def run(page: str) -> Iterator[str]:
    """Run a page's cells in this process and yield what they print, glue and display.

    Raises
    ------
    RuntimeError
        If a cell fails.
    """
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell.instance(colors="nocolor")
    shell.reset()
    for number, code in enumerate(cells(page), start=1):
        with capture_output() as said:
            result = shell.run_cell(code)
        if not result.success:
            raise RuntimeError(f"{page}, cell {number}: {said.stdout}")
        yield f"[cell {number}]"
        yield from said.stdout.splitlines()
        last = {} if result.result is None else shell.display_formatter.format(result.result)[0]
        for data in (*(output.data for output in said.outputs), last):
            for kind, content in sorted(data.items()):
                # A figure has a line for each of its elements.
                yield from (kind, *str(content).replace("><", ">\n<").splitlines())


def printed(setting: Setting, pages: Sequence[str]) -> Printed:
    """Return what the pages print under a setting, in a process of its own."""
    tools = f"{ROOT}:{ROOT / 'book' / '_tools'}:{setting.environment.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-m", "tests.pages", "--run", *pages],
        cwd=PAGES,
        env={**setting.environment, "PYTHONPATH": tools, "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{setting.name}: the pages cannot be run")
    found: Printed = json.loads(done.stdout.splitlines()[-1])
    return found


def main(names: Sequence[str]) -> int:
    """Compare the pages under both settings; 1 if any differs."""
    pages = list(names) or computed()
    with ThreadPoolExecutor() as both:
        plain, own = both.map(lambda setting: printed(setting, pages), (PLAIN, OWN))
    for page in pages:
        lines = unified_diff(plain[page], own[page], PLAIN.name, OWN.name, n=1, lineterm="")
        changed = [line[:200] for line in lines]
        print(f"{'DIFFERS' if changed else 'same'}  {page}", flush=True)
        print(*changed[:SHOWN], sep="\n", end="\n" if changed else "")
    return int(plain != own)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps({page: list(run(page)) for page in sys.argv[2:]}))
    else:
        sys.exit(main(sys.argv[1:]))
