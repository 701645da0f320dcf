"""The robustness table drawn: one line per broken assumption, one mark per bound asked."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from stopping.figures.data import Survival
from stopping.figures.theme import BLUE, GRID, INK, MUTED, VERMILION, frame, mathematics
from stopping.simulation.robustness import Basis, Outcome

SURE_COLUMNS = ("T1", "T2", "T2 range", "T4")
MARKERS = {"T10 above": "^", "T10 tail": "v", "T10 mean": "D", "T11": "o"}
COLOURS = {Outcome.SURVIVES: BLUE, Outcome.FAILS: VERMILION, Outcome.UNDECIDED: MUTED}
LEAST = 1e-3
"""Ratios below it, zero included, are drawn at it."""


def draw_sure_bounds(ax: Axes, data: Sequence[Survival]) -> None:
    """A matrix of the bounds that hold surely where the assumptions do."""
    place = _places(data)
    for cell in data:
        if not cell.sure:
            continue
        at = (SURE_COLUMNS.index(cell.label), place[cell.broken, cell.parameter])
        if cell.outcome is Outcome.FAILS:
            ax.annotate(
                _share(cell.size), at, ha="center", va="center", color=VERMILION, fontsize=8.5
            )
        elif cell.outcome is Outcome.UNDECIDED:
            ax.annotate("?", at, ha="center", va="center", color=MUTED)
        else:
            ax.plot(*at, marker="o", color=BLUE)
    ax.set_xticks(range(len(SURE_COLUMNS)), SURE_COLUMNS)
    ax.set_xlim(-0.5, len(SURE_COLUMNS) - 0.5)
    ax.set_ylim(len(place) - 0.5, -0.5)
    ax.grid(visible=False)
    frame(ax, "On every token: T4 needs A2 alone", "share of tokens that break the bound", "")
    _name_lines(ax, list(place))
    ax.legend(
        handles=[
            Line2D([], [], marker="o", color=BLUE, linestyle="none", label="survives (theorem)"),
            Line2D([], [], marker="$?$", color=MUTED, linestyle="none", label="none seen to break"),
        ],
        loc="upper center",
        bbox_to_anchor=(0.3, -0.055),
    )


def draw_mean_bounds(ax: Axes, data: Sequence[Survival]) -> None:
    """Estimate over limit for the bounds in probability and in the mean."""
    place = _places(data)
    ax.set_xscale("log")
    for cell in data:
        if cell.sure:
            continue
        fails = cell.outcome is Outcome.FAILS
        filled = fails or cell.basis is Basis.THEOREM
        colour = COLOURS[cell.outcome]
        # Marks of one line are spread over its height, so that equal ratios stay apart.
        spread = (list(MARKERS).index(cell.label) / (len(MARKERS) - 1) - 0.5) * 0.6
        ax.plot(
            [max(cell.size, LEAST)],
            [place[cell.broken, cell.parameter] + spread],
            marker=MARKERS[cell.label],
            color=colour,
            markerfacecolor=colour if filled else "none",
            markeredgewidth=0.9,
            linestyle="none",
            clip_on=False,
        )
    ax.axvline(1.0, color=INK, linestyle="--", linewidth=1.2, zorder=1)
    ax.set_xlim(LEAST / 1.6, 200.0)
    ticks = (LEAST, 1e-2, 1e-1, 1.0, 10.0, 100.0)
    ax.set_xticks(ticks, [rf"$\leq${LEAST:g}", "0.01", "0.1", "1", "10", "100"])
    ax.set_xticks([], minor=True)
    ax.grid(visible=False, axis="y")
    frame(
        ax,
        "On average: the mean of T10 is the last to break",
        "estimate / bound (filled: theorem or failure; hollow: simulation)",
        "",
    )
    ax.tick_params(axis="y", labelleft=False, length=0)
    _separate(ax, list(place))
    marks = [
        Line2D([], [], marker=marker, color=INK, linestyle="none", label=label)
        for label, marker in MARKERS.items()
    ]
    ax.legend(handles=marks, loc="upper center", bbox_to_anchor=(0.5, -0.055), ncols=4)


def _places(data: Sequence[Survival]) -> dict[tuple[str, str], int]:
    names = dict.fromkeys((cell.broken, cell.parameter) for cell in data)
    return {name: line for line, name in enumerate(names)}


def _name_lines(ax: Axes, names: Sequence[tuple[str, str]]) -> None:
    """Name each line, the broken assumption where it changes."""
    labels = [
        parameter if line and names[line - 1][0] == broken else f"{broken}:  {parameter}"
        for line, (broken, parameter) in enumerate(names)
    ]
    ax.set_yticks(range(len(names)), [mathematics(label) for label in labels])
    _separate(ax, names)


def _separate(ax: Axes, names: Sequence[tuple[str, str]]) -> None:
    for line in range(len(names)):
        new = line > 0 and names[line - 1][0] != names[line][0]
        ax.axhline(line - 0.5, color=MUTED if new else GRID, linewidth=0.7, zorder=0)


def _share(size: float) -> str:
    if size >= 0.9995:
        return "all"
    return f"{100 * size:.2g} %" if size >= 1e-5 else "< 0.001 %"
