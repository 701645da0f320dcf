"""Figures in a page, whose style sheet colours them: light, dark or on paper.

A figure is drawn with the colours of `PALETTE`, each of which occurs nowhere else; in the SVG text
every one of them is then replaced by the CSS variable of its name. So one drawing serves all.
"""

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from stopping.figures.theme import PALETTE, blank, settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONT_STACK = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"

SIZE = (4.6, 3.1)
"""Inches of a figure on a page."""


def drawn_svg(
    draw: "Callable[[Figure], object]",
    name: str,
    title: str,
    size: tuple[float, float] = SIZE,
) -> str:
    """Draw on an empty figure of this size, in inches, and return it as `inline_svg` does.

    A dollar sign is a dollar sign: texts may come from models.
    """
    with settings(mathematics=False):
        figure = blank(*size)
        draw(figure)
        return inline_svg(figure, name, title)


def inline_svg(figure: "Figure", name: str, title: str) -> str:
    """Turn `figure` into one `<svg>` element for the page.

    Parameters
    ----------
    name : str
        Unique on the page; prefixes every id inside the element.
    title : str
        What the figure shows, for those who do not see it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    body = text[text.index("<svg") :]
    head, body = body.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    # Its one style rule would apply to the whole page, whose own style sheet repeats it.
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
    label = f"{name}-title"
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {view.group() if view else ""} '
        f'role="img" aria-labelledby="{label}"><title id="{label}">{escape(title)}</title>'
    )
    return opening + coloured(renamed(body, name)).strip()


def style_variables() -> str:
    """CSS of the colour variables: light by default, dark where the reader prefers it."""
    light = "".join(f"--{name}:{colour.light};" for name, colour in PALETTE.items())
    dark = "".join(f"--{name}:{colour.dark};" for name, colour in PALETTE.items())
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    )


def renamed(svg: str, name: str) -> str:
    """Prefix ids and references to them: several figures share one page."""
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    return re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{name}-\1"', svg)


def coloured(svg: str, anywhere: bool = False) -> str:
    """Write the colours of the palette as CSS variables, letters in the fonts of the page.

    `anywhere`, the light colours stand where a page has no such variables.
    """
    for name, colour in PALETTE.items():
        svg = re.sub(
            colour.light,
            f"var(--{name}, {colour.light})" if anywhere else f"var(--{name})",
            svg,
            flags=re.IGNORECASE,
        )
    return re.sub(r"'DejaVu Sans'(, sans-serif)?", FONT_STACK, svg)
