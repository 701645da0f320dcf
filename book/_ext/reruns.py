"""A page runs again when something that its cells used has changed, and not before.

The execution cache knows a page by its cells alone. Beside each execution stands what its kernel
opened of the repository (`_tools/sitecustomize.py` writes that down), with hashes: modules, data,
folders that it listed. An execution of which one has changed is dropped, and its page read anew. In
doubt a page runs: when nothing was written down, or when a file was edited while it ran.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the tests' environment has no Sphinx
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

ROOT = Path(__file__).parents[2]
ALWAYS = ("book/_ext/kernels.py", "book/_ext/reruns.py", "book/_tools/sitecustomize.py")
READER, TRACES = "empirical/traces/files.py", "empirical/data/*.parquet"
"""Arrow opens trace files past Python, which is told nothing: who has the reader may read any."""
LABELS = re.compile(rb"^:label: .*$", re.MULTILINE)
CHANGED = "changed while the page ran"


def used(opened: Iterable[str], root: Path = ROOT) -> set[str]:
    """Return what a page depends on, relative to the root, by the paths that its kernel opened."""
    names = set(ALWAYS)
    for path in opened:
        parts = list(Path(path).relative_to(root).parts)
        if "__pycache__" in parts:  # compiled: the module is what matters
            parts[-2:] = [parts[-1].partition(".")[0] + ".py"]
        if not any(part.startswith(".") or part == "_build" for part in parts):
            names.add("/".join(parts))
    if READER in names:
        names.update(trace.relative_to(root).as_posix() for trace in root.glob(TRACES))
    return names


@cache
def digest(path: Path) -> str:
    """Return a hash of what a file holds or a folder lists, empty if there is none."""
    if path.is_dir():
        names = (inner.name for inner in path.iterdir())
        held = "\n".join(sorted(n for n in names if n[0] != "." and n != "__pycache__")).encode()
    elif path.is_file():
        held = path.read_bytes()
        if path.suffix == ".md" and path.parent.name == "pages":
            # Cells ask the book's pages where a theorem stands, and no more.
            held = b"\n".join(LABELS.findall(held))
    else:
        return ""
    return sha256(held).hexdigest()


@cache
def environment() -> str:
    """Return a hash of this Python and of what is installed."""
    installed = sorted(f"{one.name} {one.version}" for one in distributions())
    return sha256("\n".join([sys.version, *installed]).encode()).hexdigest()


def record(opened: Iterable[str], began: float, root: Path = ROOT) -> dict[str, str]:
    """Return the state of all that a page used which began to run at a time."""
    found = {"": environment()}
    for name in sorted(used(opened, root)):
        path = root / name
        late = path.is_file() and path.stat().st_mtime >= began
        found[name] = CHANGED if late else digest(path)
    return found


def holds(kept: Mapping[str, str], root: Path = ROOT) -> bool:
    """Say whether all is as it was when a record was made."""
    return kept.get("") == environment() and all(
        digest(root / name) == was for name, was in kept.items() if name
    )


def drop(app: Sphinx, env: BuildEnvironment, *_: set[str]) -> list[str]:
    """Drop the executions that do not hold, and return the pages that must be read anew."""
    executions = cached(env)
    stale = {one.uri for one in executions.list_cache_records() if not stands(executions, one)}
    kept = set()
    for one in executions.list_cache_records():
        if one.uri in stale:
            executions.remove_cache(one.pk)
        else:
            kept.add(one.uri)
    outdated = [
        page
        for page, how in executed(env).items()
        if not (how["succeeded"] and str(env.doc2path(page)) in kept)
    ]
    return outdated + [
        page
        for page, data in env.metadata.items()
        if any(digest(path) != was for path, was in data.get("used", {}).items())
    ]


def note(env: BuildEnvironment, paths: Iterable[Path]) -> None:
    """Have the page that is being read, whose directives used these, read again with them."""
    env.metadata[env.docname].setdefault("used", {}).update({p: digest(p) for p in paths})


def executed(env: Any) -> dict[str, dict[str, Any]]:
    """Return the pages with cells, and how their running went."""
    pages = getattr(env, "nb_metadata", {})  # MyST-NB's; there is none before the first such page
    return {page: data["exec_data"] for page, data in pages.items() if data.get("exec_data")}


def stands(executions: Any, one: Any) -> bool:
    file = record_of(executions, one)
    return file.is_file() and holds(json.loads(file.read_text("utf-8")))


def record_of(executions: Any, one: Any) -> Path:
    """Return where the record of an execution is: beside it, so that it goes with it."""
    return Path(executions.path) / "executed" / str(one.hashkey) / "used.json"


def cached(env: Any) -> Any:
    from jupyter_cache import get_cache

    return get_cache(env.mystnb_config.execution_cache_path)


def watch(app: Sphinx, page: str, source: list[str]) -> None:
    """Have the kernel of the page that is read next write down what it opens."""
    log = Path(app.doctreedir) / "reads" / page.replace("/", ".")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    os.environ["BOOK_READS"] = str(log)
    app.env.temp_data["began"] = time.time()


def keep(app: Sphinx, doctree: nodes.document) -> None:
    """Put the record of a page that ran and did not fail beside its execution."""
    env: Any = app.env
    log = Path(os.environ.pop("BOOK_READS"))
    how = executed(env).get(env.docname)
    if not (how and how["succeeded"] and log.is_file()):
        return  # no kernel started, or it failed
    page = str(env.doc2path(env.docname))
    executions = cached(env)
    newest = max(
        (one for one in executions.list_cache_records() if one.uri == page), key=lambda one: one.pk
    )
    made = record(log.read_text("utf-8").splitlines(), env.temp_data["began"])
    record_of(executions, newest).write_text(json.dumps(made, indent=0), "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("env-get-outdated", drop)
    app.connect("source-read", watch)
    app.connect("doctree-read", keep)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
