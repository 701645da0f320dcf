"""A page loads what it shows.

The theme brings two thousand icons in one script, of which a book shows a dozen; styles of a whole
framework, of which it uses a third; and the search's index to every page, for a search while one
types, which is off; the search page has its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the tests' environment, which asks what is cut, has no Sphinx
    from sphinx.application import Sphinx

ICON = re.compile(
    r'([a-z0-9]+|"[a-z0-9-]+"):'
    r'\[\d+,\d+,\[[^\]]*\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'
)
GLYPHS = re.compile(r'(?:\.fa-[a-z0-9-]+:before,?)+\{content:"[^"]*"\}')
SHOWN = re.compile(r"\bfa-([a-z0-9-]+)")
FILES = r'\s*<(?:script|link)\b[^>]*\b(?:src|href)="[^"]*\b(?:{})\b[^"]*"[^>]*>(?:</script>)?'
SEARCH = re.compile(FILES.format(r"searchtools\.js|language_data\.js|searchindex\.js"))
ASKED = {
    re.compile(r'class="explorer"'): re.compile(FILES.format(r"explorer(?:-rules)?\.(?:js|css)")),
    re.compile(r'class="[^"]*\bsd-'): re.compile(
        FILES.format(r"sphinx-design\.min\.css|design-tabs\.js")
    ),
}
"""What a page has that needs files of its own, and the elements that load them."""

CLASSES = re.compile(r'class="([^"]*)"')
WORD = re.compile(r"[\w-]+")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
RULE = re.compile(r"([^{}]+)(\{[^{}]*\})")
NOT_A_SELECTOR = re.compile(r"\s*(?:@|from\b|to\b|[\d.]+%)")
COMMA = re.compile(r",(?![^(\[]*[)\]])")
ARGUMENT = re.compile(r"\((?:[^()]|\([^()]*\))*\)|\[[^\]]*\]")
CLASS = re.compile(r"\.(-?[A-Za-z_][\w-]*)")


def cut_icons(script: str, shown: set[str]) -> str:
    """Return the theme's script of icons without those that nothing shows."""
    return ICON.sub(lambda icon: icon[0] if icon[1].strip('"') in shown else "", script)


def cut_files(page: str) -> str:
    """Return a page without the elements that load what it does not use."""
    page = SEARCH.sub("", page)
    for mark, files in ASKED.items():
        if not mark.search(page):
            page = files.sub("", page)
    return page


def cut_styles(sheet: str, used: set[str]) -> str:
    """Return a style sheet without the rules that ask for a class that is not in use."""

    def rule(found: re.Match[str]) -> str:
        selectors, block = found.groups()
        if NOT_A_SELECTOR.match(selectors):
            return found[0]
        kept = [
            one
            for one in COMMA.split(selectors)
            if used.issuperset(CLASS.findall(ARGUMENT.sub("", one)))
        ]
        return ",".join(kept) + block if kept else ""

    return RULE.sub(rule, COMMENT.sub("", sheet))


def classes_of(texts: Iterable[str], scripts: Iterable[str]) -> set[str]:
    """Return the classes that pages have, and all words of scripts, which may set others."""
    used: set[str] = set()
    for text in texts:
        for found in CLASSES.findall(text):
            used.update(found.split())
    for script in scripts:
        used.update(WORD.findall(script))
    return used


def lighten(app: Sphinx, failure: Exception | None) -> None:
    if app.builder.format != "html" or failure is not None:
        return
    site = Path(app.outdir)
    pages: list[str] = []
    for page in site.rglob("*.html"):
        document = page.relative_to(site).with_suffix("").as_posix()
        if document.startswith("pages/") and document not in app.env.found_docs:
            page.unlink()  # of a page that there is no more
            continue
        text = page.read_text("utf-8")
        if page.name != "search.html" and (cut := cut_files(text)) != text:
            page.write_text(text := cut, "utf-8")
        pages.append(text)
    static = site / "_static"
    icons = static / "scripts" / "fontawesome.js"
    scripts = [
        script.read_text("utf-8")
        for script in (*static.glob("*.js"), *static.glob("scripts/*.js"))
        if script != icons
    ]
    shown = {icon for text in (*pages, *scripts) for icon in SHOWN.findall(text)}
    icons.write_text(cut_icons(icons.read_text("utf-8"), shown), "utf-8")
    used = classes_of(pages, scripts)
    for sheet in (*static.glob("styles/*theme.css"), *static.glob("mystnb*.css")):
        text = GLYPHS.sub("", sheet.read_text("utf-8"))  # the script draws them
        sheet.write_text(cut_styles(text, used), "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
