"""`{gallery}`: every figure of the book, small, each with a link to its page.

As in `build_status` the directive leaves a mark; once all pages have run, it becomes the figures,
written as files of their own so that the gallery loads those that come into sight.
"""

import re
from html import escape, unescape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

DRAWING = re.compile(r"<svg [^>]*book-figure.*?</svg>", re.DOTALL)
LABEL = re.compile(r'aria-label="([^"]*)"')
BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


class GalleryMark(nodes.General, nodes.Element):
    """Stands where the figures will be."""


class Gallery(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # it shows what other pages have
        return [GalleryMark()]


class Fill(SphinxPostTransform):
    default_priority = 6  # before figures and links are resolved

    def run(self, **_: Any) -> None:
        for mark in list(self.document.findall(GalleryMark)):
            shown = "".join(self.items())
            mark.replace_self(nodes.raw("", f'<div class="gallery">{shown}</div>', format="html"))

    def items(self) -> list[str]:
        """Return the figures in the order of the pages."""
        order = self.env.toctree_includes.get("index", ())
        place = {page: i for i, page in enumerate(order)}
        pages = sorted(self.env.found_docs, key=lambda p: (place.get(p, len(place)), p))
        return [
            self.item(page, str(figure["ids"][0]), drawing[0])
            for page in pages
            if page != self.env.docname
            for figure in self.env.get_doctree(page).findall(nodes.figure)
            for raw in figure.findall(nodes.raw)
            if figure["ids"] and (drawing := DRAWING.search(raw.astext()))
        ]

    def item(self, page: str, figure: str, drawing: str) -> str:
        """Write one drawing and return its place in the gallery."""
        label = LABEL.search(drawing)
        said = unescape(label[1]) if label else figure
        if (box := BOX.search(drawing)) is None:
            raise ValueError(f"{page}, {figure}: a drawing without a viewBox has no size")
        width, height = box.groups()
        target = Path(self.app.outdir) / "_images" / "gallery" / f"{figure}.svg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(drawing, "utf-8")
        title = re.split(r"[:.;] (?<!^Left: )(?<!^Above: )", said)[0].rstrip(".")
        builder = self.app.builder
        here = f"{builder.get_relative_uri(self.env.docname, page)}#{figure}"
        up = "../" * self.env.docname.count("/")
        return (
            f'<a href="{escape(here)}"><img loading="lazy" width="{float(width):.0f}" '
            f'height="{float(height):.0f}" alt="{escape(said)}" '
            f'src="{up}_images/gallery/{figure}.svg"><span>{escape(title)}</span></a>'
        )


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("gallery", Gallery)
    app.add_node(GalleryMark)
    app.add_post_transform(Fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
