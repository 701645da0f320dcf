"""Every page whose cells need the installed package alone is offered as a notebook beside it."""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

# The book's own files, and helpers that a package does not bring.
OURS = re.compile(r"_data/|from (?:booktools|explorer) import|_tools")
REPOSITORY = re.compile(
    r"^```\{code-cell\} python\n:tags: \[[^\]]*\brepository\b[^\]]*\]\n.*?^```\n",
    re.MULTILINE | re.DOTALL,
)


def offered(source: Path) -> list[Path]:
    """Return the pages with cells that run anywhere."""
    return [
        page
        for page in sorted((source / "pages").glob("*.md"))
        if "{code-cell}" in (text := without_repository(page)) and not OURS.search(text)
    ]


def without_repository(page: Path) -> str:
    """Return a page without the cells that show stored runs of the repository."""
    return REPOSITORY.sub(
        "*(A stored run of the repository, shown in the book.)*\n", page.read_text("utf-8")
    )


def write(app: Sphinx) -> None:
    app.offered_notebooks = {page.name for page in offered(Path(app.srcdir))}
    if app.builder.format != "html":
        return
    import jupytext

    for page in offered(Path(app.srcdir)):
        target = Path(app.outdir) / "pages" / f"{page.stem}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        notebook = jupytext.reads(without_repository(page), fmt="md:myst")
        jupytext.write(notebook, str(target), fmt="ipynb")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
