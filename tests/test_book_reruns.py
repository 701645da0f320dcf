"""Which pages of the book run again: those of which something that their cells used has changed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from book._ext import reruns

ROOT = Path(__file__).parents[1]
OPENS = """
import json, os, subprocess, sys
from importlib.metadata import version
from pathlib import Path
import stopping.errors
version("numpy")
open("book/references.bib").close()
list(Path("book/_data").glob("*.json"))
subprocess.run([sys.executable, "-c", "open('book/_toc.yml')"], check=True)
if (child := os.fork()) == 0:
    open(b"book/_config.yml")
    os._exit(0)
os.waitpid(child, 0)
"""


def test_what_a_process_and_its_children_open_is_written_down(tmp_path: Path) -> None:
    log = tmp_path / "log"
    path = os.pathsep.join((str(ROOT / "book" / "_tools"), str(ROOT)))
    told = {**os.environ, "PYTHONPATH": path, "BOOK_READS": str(log)}
    subprocess.run([sys.executable, "-c", OPENS], cwd=ROOT, env=told, check=True)
    lines = log.read_text("utf-8").splitlines()
    found = reruns.used(lines)
    read = {f"book/{name}" for name in ("references.bib", "_data", "_toc.yml", "_config.yml")}
    assert {"stopping/__init__.py", "stopping/errors.py", *read} <= found
    listed = {name for name in found if (ROOT / name).is_dir()}
    assert listed == {"book/_data"}, "folders that imports list are nothing to a page"
    assert all(line.startswith(str(ROOT)) for line in lines)


def test_that_nothing_was_opened_is_written_down(tmp_path: Path) -> None:
    log = tmp_path / "log"
    told = {**os.environ, "PYTHONPATH": str(ROOT / "book" / "_tools"), "BOOK_READS": str(log)}
    subprocess.run([sys.executable, "-c", ""], cwd=tmp_path, env=told, check=True)
    assert log.read_text("utf-8") == ""


def test_a_process_of_no_page_writes_nothing_down() -> None:
    path = {"PYTHONPATH": str(ROOT / "book" / "_tools")}
    told = {name: value for name, value in os.environ.items() if name != "BOOK_READS"} | path
    watched = "import sys; print(hasattr(sys.modules['sitecustomize'], 'watch'), end='')"
    done = subprocess.run([sys.executable, "-c", watched], env=told, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True", "")


def test_what_counts_of_what_was_opened(tmp_path: Path) -> None:
    (tmp_path / "empirical" / "data").mkdir(parents=True)
    trace = tmp_path / "empirical" / "data" / "model.parquet"
    trace.touch()
    opened = ("a/__pycache__/b.cpython-311.pyc", ".venv/lib/c.py", "book/_build/html/d.html")
    found = reruns.used([str(tmp_path / name) for name in opened], tmp_path)
    assert found == {"a/b.py", *reruns.ALWAYS}
    found = reruns.used([str(tmp_path / reruns.READER)], tmp_path)
    assert found == {reruns.READER, "empirical/data/model.parquet", *reruns.ALWAYS}


OPENED = ("module.py", "data", "data/one.json", "absent.json", "pages/theory.md")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for name in ("data", "pages"):
        (tmp_path / name).mkdir()
    (tmp_path / "module.py").write_text("x = 1")
    (tmp_path / "data" / "one.json").write_text("1")
    (tmp_path / "pages" / "theory.md").write_text("# Theory\n:label: thm:T1\n")
    return tmp_path


def recorded(house: Path, began: float | None = None) -> dict[str, str]:
    reruns.digest.cache_clear()
    opened = [str(house / name) for name in OPENED]
    return reruns.record(opened, time.time() + 60 if began is None else began, house)


def holds(kept: dict[str, str], house: Path) -> bool:
    reruns.digest.cache_clear()
    return reruns.holds(kept, house)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a module": lambda house: (house / "module.py").write_text("x = 2"),
    "no module": lambda house: (house / "module.py").unlink(),
    "data": lambda house: (house / "data" / "one.json").write_text("2"),
    "a file in a listed folder": lambda house: (house / "data" / "two.json").touch(),
    "a file that was asked for": lambda house: (house / "absent.json").touch(),
    "a theorem": lambda house: (house / "pages" / "theory.md").write_text(":label: thm:T2\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_page_runs_again_when_what_it_used_has_changed(change: str, house: Path) -> None:
    kept = recorded(house)
    assert holds(kept, house)
    CHANGES[change](house)
    assert not holds(kept, house)


def test_nothing_else_runs_a_page_again(house: Path) -> None:
    kept = recorded(house)
    (house / "other.py").touch()
    (house / "data" / "__pycache__").mkdir()
    (house / "pages" / "theory.md").write_text("# Another title\n:label: thm:T1\n")
    (house / "module.py").touch()
    assert holds(kept, house)


def test_another_environment_runs_all(house: Path) -> None:
    kept = recorded(house)
    assert not holds({**kept, "": "another"}, house)
    assert not holds({name: was for name, was in kept.items() if name}, house)


def test_what_was_edited_while_a_page_ran_is_in_doubt(house: Path) -> None:
    began = (house / "module.py").stat().st_mtime
    assert not holds(recorded(house, began), house)


class Executions:
    """The execution cache as far as it is asked: one execution for each page, by its name."""

    def __init__(self, path: Path, *pages: str) -> None:
        self.path = path
        self.kept = {n: SimpleNamespace(pk=n, uri=p, hashkey=p) for n, p in enumerate(pages)}

    def list_cache_records(self) -> list[SimpleNamespace]:
        return list(self.kept.values())

    def remove_cache(self, pk: int) -> None:
        del self.kept[pk]


def test_executions_that_do_not_hold_are_dropped_and_their_pages_read(
    tmp_path: Path, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reruns.digest.cache_clear()
    executions = Executions(tmp_path, "kept", "edited", "unknown", "failed")
    environment = {"": reruns.environment()}
    for page, record in {
        "kept": environment,
        "edited": {**environment, "stopping/__init__.py": "as it was"},
        "failed": environment,
    }.items():
        (tmp_path / "executed" / page).mkdir(parents=True)
        (tmp_path / "executed" / page / "used.json").write_text(json.dumps(record))
    monkeypatch.setattr(reruns, "cached", lambda env: executions)
    pages = ("kept", "edited", "unknown", "failed", "gone")
    env: Any = SimpleNamespace(
        doc2path=str,
        nb_metadata={p: {"exec_data": {"succeeded": p != "failed"}} for p in pages} | {"api": {}},
        metadata={"api": {}},
        docname="api",
    )
    app: Any = None
    reruns.note(env, [house / "module.py", house / "data"])
    assert reruns.drop(app, env) == ["edited", "unknown", "failed", "gone"]
    assert {one.uri for one in executions.list_cache_records()} == {"kept", "failed"}
    reruns.digest.cache_clear()
    (house / "module.py").write_text("x = 2")
    assert reruns.drop(app, env)[-1] == "api", "its directives read that module"
