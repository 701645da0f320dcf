"""Figures that follow the page: drawn once in fixed colours, coloured by the page's style sheet.

A figure is drawn with the colours of `PALETTE`, each of which occurs nowhere else; in the SVG text
every one of them is then replaced by the CSS variable of its name. So one drawing serves light
pages, dark pages and paper. The hues are those of Okabe and Ito (2008), which people with a colour
vision deficiency can tell apart, at a lightness that keeps text legible; no figure relies on
colour alone.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Colour:
    """One colour role: its value on light ground, which is the one drawn, and on dark ground."""

    light: str
    dark: str


PALETTE: dict[str, Colour] = {
    "ink": Colour("#1b2430", "#e6e9ee"),
    "muted": Colour("#566273", "#a3adba"),
    "grid": Colour("#dfe3e9", "#323b47"),
    "paper": Colour("#fdfdfc", "#161b22"),
    "blue": Colour("#0072b2", "#56b4e9"),
    "vermilion": Colour("#c25400", "#ff8f4a"),
    "green": Colour("#00795a", "#2fc997"),
    "purple": Colour("#a8508a", "#dd93c0"),
}
INK, MUTED, GRID, PAPER = (PALETTE[name].light for name in ("ink", "muted", "grid", "paper"))
BLUE, VERMILION = PALETTE["blue"].light, PALETTE["vermilion"].light
GREEN, PURPLE = PALETTE["green"].light, PALETTE["purple"].light

FONT_STACK = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"

_OWN_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib, and only its metrics are used
    "axes.titlesize": 9.0,
    "lines.markersize": 4.5,
    "legend.facecolor": PAPER,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.8,
    "axes.unicode_minus": True,
    "text.parse_math": False,  # texts come from models: a dollar sign is a dollar sign
}


def blank(width: float = 4.6, height: float = 3.1) -> "Figure":
    """Return an empty figure in the page's style, in inches; no global state is touched."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def settings() -> Any:
    """Context in which figures are drawn and saved; the user's own style plays no part."""
    from matplotlib import style

    from stopping.figures.style import shared_settings

    own: Any = {**shared_settings(INK, MUTED, GRID), **_OWN_SETTINGS}
    return style.context(["default", own])


def save_figure(path: Path, draw: Callable[[], "Figure"]) -> None:
    """Draw a figure in the page's style into a file: SVG, PDF or PNG by its suffix.

    Raises
    ------
    UserError
        If the suffix is another, which is found before anything is drawn, or the folder cannot be
        written to.
    """
    from stopping.figures.draw import check_format, save

    kind = check_format(path)
    with settings():
        save(draw(), path, kind)


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
    return opening + _coloured(_renamed(body, name)).strip()


def style_variables() -> str:
    """CSS of the colour variables: light by default, dark where the reader prefers it."""
    light = "".join(f"--{name}:{colour.light};" for name, colour in PALETTE.items())
    dark = "".join(f"--{name}:{colour.dark};" for name, colour in PALETTE.items())
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    )


def _renamed(svg: str, name: str) -> str:
    """Prefix ids and references to them: several figures share one page."""
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    return re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{name}-\1"', svg)


def _coloured(svg: str) -> str:
    for name, colour in PALETTE.items():
        svg = re.sub(colour.light, f"var(--{name})", svg, flags=re.IGNORECASE)
    return re.sub(r"'DejaVu Sans'(, sans-serif)?", FONT_STACK, svg)
