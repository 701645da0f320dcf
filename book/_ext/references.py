"""What a page cites stands at its foot, with a link to the work itself: DOI, arXiv or address.

A citation in the text leads to the bibliography, where all works are; a reader of one page should
not need that step.
"""

from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

WHOLE = {"pages/bibliography"}
"""Pages that list works themselves."""


def target(fields: dict[str, str]) -> str:
    """Return where a work is found: by its DOI, else at its own address; empty for a book."""
    return f"https://doi.org/{fields['doi']}" if "doi" in fields else fields.get("url", "")


def cited(app: Sphinx, page: str) -> list[str]:
    """Return the works of a page as HTML, each once, in the order in which they are cited."""
    domain: Any = app.env.get_domain("cite")
    keys = [
        key
        for reference in domain.citation_refs
        if reference.docname == page
        for key in (target.key for target in reference.targets)
    ]
    entries = domain.bibdata.data.entries
    return [listed(entries[key]) for key in dict.fromkeys(keys)]


def listed(entry: Any) -> str:
    """Return one work as HTML: who, when, what, linked where it can be."""
    names = [" ".join(map(plain, person.last_names)) for person in entry.persons["author"]]
    who = names[0] if len(names) == 1 else " and ".join(names)
    if len(names) > 2:
        who = f"{names[0]} et al."
    title = escape(plain(entry.fields["title"]))
    where = target(dict(entry.fields))
    linked = f'<a class="reference external" href="{escape(where)}">{title}</a>' if where else title
    return f"{escape(who)} ({entry.fields['year']}): {linked}"


def plain(text: str) -> str:
    """Return BibTeX's text without braces and with its accents."""
    from pybtex.richtext import Text

    found: str = Text.from_latex(text).render_as("text")
    return found


def add_references(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    if "body" not in context or page in WHOLE:
        return
    if works := cited(app, page):
        items = "".join(f"<li>{work}</li>" for work in works)
        context["body"] += f'<div class="cited"><p>Cited on this page</p><ul>{items}</ul></div>'


def setup(app: Sphinx) -> dict[str, Any]:
    # Before the colophon, which is the foot itself.
    app.connect("html-page-context", add_references, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
