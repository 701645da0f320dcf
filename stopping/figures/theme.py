"""The look and the files of all figures: one palette, for light and for dark ground.

The hues are those of Okabe and Ito (2008), which people with a colour vision deficiency can tell
apart, at a lightness that keeps text legible; line styles and markers tell the same in grey. What
is drawn touches neither pyplot nor global settings.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stopping.support.files import FIGURE, require_suffix, written_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
INK, MUTED, GRID, PAPER, BLUE, VERMILION, GREEN, PURPLE = (c.light for c in PALETTE.values())

SYMBOLS = {
    "eps_max": r"$\varepsilon_{\max}$",
    "V*": "$V^*$",
    "rho": r"$\rho$",
    " x ": " × ",
    " -": " −",
}

_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib
    "font.size": 9.0,
    "axes.labelsize": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
    "legend.facecolor": PAPER,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.8,
    "savefig.dpi": 160,
    "svg.fonttype": "none",
    "svg.hashsalt": "layer-stopping",
}


def settings(mathematics: bool = True) -> AbstractContextManager[None]:
    """Context in which figures are drawn and saved; the user's own style plays no part.

    Without `mathematics` a dollar sign is a dollar sign: for texts that come from models.
    """
    from matplotlib import style

    own: Any = {**_SETTINGS, "text.parse_math": mathematics}
    return style.context(["default", own])


def blank(width: float = 4.6, height: float = 3.1) -> "Figure":
    """Return an empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def check_format(path: Path) -> str:
    """Return the format that a figure's file name asks for.

    Raises
    ------
    UserError
        If it is none of SVG, PDF and PNG.
    """
    require_suffix(path, FIGURE)
    return Path(path).suffix.removeprefix(".").lower()


def save(figure: "Figure", path: Path, file_format: str) -> None:
    """Write the figure whole or not at all, the same bytes for the same drawing.

    Raises
    ------
    UserError
        If the folder cannot be written to.
    """
    # The date is the one part of an SVG or PDF that would differ from run to run.
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with written_aside(path) as aside:
        figure.savefig(aside, format=file_format, metadata=dated.get(file_format))


def save_figure(path: Path, draw: Callable[[], "Figure"], mathematics: bool = True) -> None:
    """Draw a figure into a file: SVG, PDF or PNG by its suffix.

    Raises
    ------
    UserError
        If the suffix is another, which is found before anything is drawn, or the folder cannot be
        written to.
    """
    kind = check_format(path)
    with settings(mathematics):
        save(draw(), path, kind)


def saving(draw: Callable[..., "Figure"], *shown: Any) -> Callable[[Path], None]:
    """Return what draws `shown`, whose texts may come from models, into the file that it is given.

    It raises as `save_figure`.
    """
    return lambda path: save_figure(path, partial(draw, *shown), mathematics=False)


def mathematics(text: str) -> str:
    """Typeset the symbols of a plain name, such as `eps_max`."""
    for plain, symbol in SYMBOLS.items():
        text = text.replace(plain, symbol)
    return text


def frame(ax: "Axes", title: str, x: str, y: str) -> None:
    """State the message and name the axes."""
    ax.set_title(title)
    ax.set_xlabel(x)
    ax.set_ylabel(y)


def note(
    ax: "Axes", text: str, at: tuple[float, float], offset: tuple[float, float], **style: Any
) -> None:
    """Write beside a place of the drawing, `offset` points away."""
    ax.annotate(text, at, offset, textcoords="offset points", **style)


def legend_below(ax: "Axes", columns: int = 1, at: float = 0.5) -> None:
    """Put the legend below the axes, where it hides nothing; `at` is its centre."""
    ax.legend(loc="upper center", bbox_to_anchor=(at, -0.2), ncols=columns)
