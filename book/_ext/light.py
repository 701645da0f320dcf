"""A page loads what it shows.

The theme brings two thousand icons in one script, of which a book shows a dozen, and the search's
index to every page, for a search while one types, which is off; the search page has its own.
"""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ICON = re.compile(
    r'([a-z0-9]+|"[a-z0-9-]+"):'
    r'\[\d+,\d+,\[[^\]]*\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'
)
GLYPHS = re.compile(r'(?:\.fa-[a-z0-9-]+:before,?)+\{content:"[^"]*"\}')
SHOWN = re.compile(r"\bfa-([a-z0-9-]+)")
UNUSED = re.compile(
    r'\s*<script src="[^"]*\b(searchtools|language_data|searchindex)\.js"></script>'
)


def cut_icons(script: str, shown: set[str]) -> str:
    """Return the theme's script of icons without those that nothing shows."""
    return ICON.sub(lambda icon: icon[0] if icon[1].strip('"') in shown else "", script)


def lighten(app: Sphinx, failure: Exception | None) -> None:
    if app.builder.format != "html" or failure is not None:
        return
    site = Path(app.outdir)
    icons = site / "_static" / "scripts" / "fontawesome.js"
    shown: set[str] = set()
    for script in icons.parent.glob("*.js"):
        if script != icons:
            shown.update(SHOWN.findall(script.read_text("utf-8")))
    for page in site.rglob("*.html"):
        document = page.relative_to(site).with_suffix("").as_posix()
        if document.startswith("pages/") and document not in app.env.found_docs:
            page.unlink()  # of a page that there is no more
            continue
        text = page.read_text("utf-8")
        shown.update(SHOWN.findall(text))
        if page.name != "search.html":
            page.write_text(UNUSED.sub("", text), "utf-8")
    icons.write_text(cut_icons(icons.read_text("utf-8"), shown), "utf-8")
    styles = site / "_static" / "styles" / "pydata-sphinx-theme.css"
    styles.write_text(GLYPHS.sub("", styles.read_text("utf-8")), "utf-8")  # the script draws them


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
