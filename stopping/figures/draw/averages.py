"""T13 drawn: the worst drifts, and the constants beside their bounds."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from stopping.figures.theme import (
    BLUE,
    GREEN,
    INK,
    PURPLE,
    VERMILION,
    frame,
    legend_below,
    mathematics,
    note,
)
from stopping.model.densities import Unit
from stopping.theory.averages import AverageCase

STYLES = ((BLUE, "o", "-"), (GREEN, "s", "--"), (VERMILION, "^", "-."), (PURPLE, "D", ":"))
UNITS: dict[Unit, str] = {"eps_max": r"\varepsilon_{\max}", "sigma": r"\sigma"}
SHOWN = 5
"""Falls further below `V*` hardly move the value, so where they lie says nothing."""


def draw_worst_falls(ax: Axes, data: Sequence[AverageCase]) -> None:
    """Falls per layer that make the expected excess largest, in standard deviations."""
    for (colour, marker, line), case in zip(STYLES, data, strict=False):
        # Where a smooth maximum lies is known to fewer digits than its value: those beyond are the
        # processor's, and the figure is the same on all.
        falls = [round(fall / case.deviation, 4) for fall in case.worst[-1].drifts[:SHOWN]]
        ax.plot(
            range(1, len(falls) + 1),
            falls,
            color=colour,
            marker=marker,
            linestyle=line,
            label=mathematics(case.law),
        )
    ax.set_ylim(0.0, None)
    ax.set_xticks(range(1, SHOWN + 1))
    frame(
        ax,
        "The worst falls: large at first",
        "layers below $V^*$",
        "fall of $G$ (standard deviations)",
    )
    legend_below(ax, 2)


def draw_constants(ax: Axes, data: Sequence[AverageCase]) -> None:
    """Each law's constant beside the bounds on it, in the law's own unit, log scale."""
    marks = (
        ("T2, the worst case", "x", [case.excess_bound for case in data]),
        (r"T10, $\sigma\sqrt{\pi}$", "|", [case.tail_bound for case in data]),
        ("difference bound", "+", [case.difference_bound for case in data]),
    )
    for name, marker, values in marks:
        known = [(value, row) for row, value in enumerate(values) if value is not None]
        ax.plot(
            [value for value, _ in known],
            [row for _, row in known],
            color=INK,
            marker=marker,
            markersize=9,
            markeredgewidth=1.5,
            linestyle="none",
            label=name,
        )
    for row, ((colour, marker, _), case) in enumerate(zip(STYLES, data, strict=False)):
        ax.plot([case.constant], [row], color=colour, marker=marker, markersize=7)
        note(
            ax,
            rf"{case.constant:.4f} ${UNITS[case.unit]}$",
            (case.constant, row),
            (0, 8),
            ha="center",
            fontsize=8,
        )
    ax.set_xscale("log")
    ax.set_xlim(0.07, 3.0)
    ticks = (0.1, 0.2, 0.5, 1.0, 2.0)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    names = [mathematics(case.law).replace(", ", ",\n") for case in data]
    ax.set_yticks(range(len(data)), names)
    ax.set_ylim(len(data) - 0.5, -0.6)
    frame(
        ax,
        "T13: on average, far below the worst case",
        r"expected excess (units of $\varepsilon_{\max}$ or $\sigma$, as marked)",
        "",
    )
    legend_below(ax, 3, at=0.4)
