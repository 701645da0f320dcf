"""Punctuation stays on the line of the inline formula that it follows.

Browsers may break a line between an inline formula and the comma after it; a word joiner does not
stop them, an unbreakable span does.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

MARK = re.compile(r"[^\s\w(\[]+")


def glue_punctuation(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for math in list(doctree.findall(nodes.math)):
        text = math.next_node(descend=False, siblings=True)
        mark = MARK.match(text) if isinstance(text, nodes.Text) else None
        if mark is None:
            continue
        glued = nodes.inline("", "", classes=["math-glue"])
        parent = math.parent
        parent.replace(text, nodes.Text(text[mark.end() :]))
        parent.replace(math, glued)
        glued += [math, nodes.Text(mark.group())]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-resolved", glue_punctuation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
