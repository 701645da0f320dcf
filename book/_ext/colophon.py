"""The foot of every page: version, commit and date, licence, how to cite, the page's notebook."""

import subprocess
from datetime import date
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]


def commit() -> str:
    """Return the commit that is built, and nothing outside a clone."""
    asked = ["git", "-C", str(ROOT), "log", "-1", "--format=%h, %cs"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


def foot() -> str:
    made = f"layer-stopping {version('layer-stopping')}"
    if found := commit():
        made += f", commit {found}"
    return f"{escape(made)}; built on {date.today().isoformat()}; Apache License 2.0"


def add_foot(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: object) -> None:
    if "body" not in context:
        return
    up = "../" * page.count("/")
    notebook = Path(app.srcdir, f"{page}.md")
    more = f' <a href="{up}pages/about.html">How to cite</a>'
    if notebook.name in getattr(app, "offered_notebooks", ()):
        more += f' <a href="{notebook.stem}.ipynb" download>This page as a notebook</a>'
    context["body"] += f'<footer class="colophon">{foot()}.{more}</footer>'


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", add_foot)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
