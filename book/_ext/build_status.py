"""`{build-status}`: what the build itself knows, which pages ran and how long that took.

The directive leaves a mark; when the pages are written all of them have been executed, and the
mark becomes the table.
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective


class Mark(nodes.General, nodes.Element):
    """Stands where the table will be."""


class BuildStatus(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # it shows what other pages have
        return [Mark()]


class Fill(SphinxPostTransform):
    default_priority = 6  # before links and titles are resolved

    def run(self, **_: Any) -> None:
        for mark in list(self.document.findall(Mark)):
            mark.replace_self(self.report())

    def report(self) -> list[nodes.Node]:
        seconds = {}
        for page in self.env.found_docs:
            ran = self.env.nb_metadata.get(page, {}).get("exec_data")
            if ran:
                seconds[page] = float(ran["runtime"] or 0.0)
        total = (
            f"{len(self.env.found_docs)} pages, of which {len(seconds)} were executed, in "
            f"{sum(seconds.values()):.0f} seconds of computing. Any warning or failing cell would "
            "have stopped the build."
        )
        slowest_first = sorted(seconds, key=lambda page: -seconds[page])
        rows = [(self.env.titles[page].astext(), f"{seconds[page]:.1f}") for page in slowest_first]
        return [nodes.paragraph("", total), _table(("page", "seconds"), rows)]


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> nodes.table:
    table = nodes.table(classes=["build-status"])
    group = nodes.tgroup(cols=len(head))
    table += group
    group += [nodes.colspec(colwidth=width) for width in (4, 1)]
    for part, lines in ((nodes.thead(), [head]), (nodes.tbody(), rows)):
        group += part
        for line in lines:
            row = nodes.row()
            part += row
            row += [nodes.entry("", nodes.paragraph("", cell)) for cell in line]
    return table


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("build-status", BuildStatus)
    app.add_node(Mark)
    app.add_post_transform(Fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
