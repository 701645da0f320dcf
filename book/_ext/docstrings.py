"""Docstrings are written to be read in an editor: indented formulas are set as they stand.

reStructuredText would take an indented block for a quotation, reflow it and stumble over `|x|`.
"""

import re
from typing import Any

from sphinx.application import Sphinx

UNDERLINE = re.compile(r"-{3,}$")


def keep_formulas(
    app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]
) -> None:
    kept: list[str] = []
    literal = False
    sections = next((i - 1 for i, line in enumerate(lines) if UNDERLINE.match(line)), len(lines))
    for line in lines[:sections]:
        indented = line.startswith("    ")
        if indented and not literal and kept and not kept[-1].strip():
            kept += ["::", ""]
            literal = True
        elif line.strip() and not indented:
            literal = False
        kept.append(line)
    lines[:sections] = kept


def setup(app: Sphinx) -> dict[str, Any]:
    # Before napoleon, which rewrites the sections.
    app.connect("autodoc-process-docstring", keep_formulas, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
