"""Colours, style and files of the figures."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stopping.figures.style import shared_settings
from stopping.support.files import FIGURE, require_suffix, written_aside

INK, MUTED, GRID = "#1b2430", "#566273", "#dfe3e9"
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"

SYMBOLS = {
    "eps_max": r"$\varepsilon_{\max}$",
    "V*": "$V^*$",
    "rho": r"$\rho$",
    " x ": " × ",
    " -": " −",
}

_SETTINGS: Any = {
    **shared_settings(INK, MUTED, GRID),
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "lines.markersize": 5.0,
    "legend.frameon": False,
    "savefig.dpi": 160,
}


def settings() -> AbstractContextManager[None]:
    """Context in which figures are drawn and saved; the user's own style plays no part."""
    return style.context(["default", _SETTINGS])


def blank(width: float = 6.4, height: float = 3.6) -> Figure:
    """Return an empty figure, in inches; no global state is touched."""
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


def save(figure: Figure, path: Path, file_format: str) -> None:
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


def mathematics(text: str) -> str:
    """Typeset the symbols of a plain name, such as `eps_max`."""
    for plain, symbol in SYMBOLS.items():
        text = text.replace(plain, symbol)
    return text


def frame(ax: Axes, title: str, x: str, y: str) -> None:
    """State the message and name the axes."""
    ax.set_title(title)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
