"""S1 to S3 drawn: the stopping region, the gap of every rule, and the phase diagrams."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from stopping.figures.theme import (
    BLUE,
    GREEN,
    INK,
    PURPLE,
    VERMILION,
    blank,
    frame,
    save_figure,
    settings,
)
from stopping.optimal.comparison import Gap, RuleComparison
from stopping.optimal.diagram import NEAR, Optimality, is_near
from stopping.optimal.region import RegionSample

SHOWN = 3000
"""Points of a region: more would overlap."""
_LEAST = 1e-6
"""Beliefs nearer to 0 or 1 are drawn at this."""
_WON = LinearSegmentedColormap.from_list("won", [VERMILION, "#f4f1ea", BLUE])


def draw_region(ax: Axes, samples: Sequence[RegionSample]) -> None:
    """Where the optimal rule stops and where it reads on, by projections made and belief."""
    rng = np.random.default_rng(0)
    for stops, colour, marker, label in (
        (False, VERMILION, "o", "reads on"),
        (True, BLUE, "x", "stops"),
    ):
        for i, sample in enumerate(samples):
            of = np.flatnonzero(sample.stops == stops)
            of = rng.permutation(of)[: SHOWN // len(samples)]
            side = 0.2 if stops else -0.2
            ax.plot(
                sample.projections + side + rng.uniform(-0.15, 0.15, len(of)),
                np.clip(sample.belief[of], _LEAST, 1 - _LEAST),
                marker,
                color=colour,
                label=label if i == 0 else None,
                markersize=2.5,
                alpha=0.5,
            )
    ax.set_yscale("logit")
    ax.set_xticks([sample.projections for sample in samples])
    frame(
        ax,
        "S2: the optimal rule stops once it believes that $V^*$ is reached",
        "projections made",
        r"$P(V^* < l \mid$ read$)$",
    )
    ax.legend(loc="lower left", markerscale=2)


def draw_gaps(ax: Axes, gaps: Sequence[Gap]) -> None:
    """Loss above the optimal rule's, two standard errors either way."""
    shown = sorted(gaps[1:], key=lambda gap: gap.gap, reverse=True)
    at = np.arange(len(shown))
    for marker, colour, bounded in (("o", BLUE, True), ("D", PURPLE, False)):
        of = [i for i, gap in enumerate(shown) if gap.bounded is bounded]
        if of:
            ax.errorbar(
                [shown[i].gap for i in of],
                at[of],
                xerr=[2 * shown[i].gap_stderr for i in of],
                marker=marker,
                linestyle="none",
                color=colour,
                elinewidth=1,
                label="bounded by the value" if bounded else "in another order: not bounded",
            )
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_yticks(at, [gap.name for gap in shown])
    frame(ax, "S2: what each rule loses to the optimum", "gap, nats", "")
    if not all(gap.bounded for gap in shown):
        ax.legend(loc="upper right")


def draw_diagram(ax: Axes, cells: Sequence[Optimality], cost: float) -> None:
    """Share of the optimum's gain that the search wins, and the edge of "within 5 %"."""
    here = [cell for cell in cells if cell.cost == cost]
    noise = sorted({cell.eps_max for cell in here})
    shares = sorted({cell.perturbed for cell in here})
    table = {(cell.perturbed, cell.eps_max): cell for cell in here}
    won = np.array(
        [[table[s, e].won if (s, e) in table else np.nan for e in noise] for s in shares]
    )
    ax.pcolormesh(
        np.arange(len(noise)),
        np.arange(len(shares)),
        won,
        cmap=_WON,
        vmin=-1,
        vmax=1,
        shading="nearest",
    )
    ax.grid(visible=False)
    for row, share in enumerate(shares):
        for column, level in enumerate(noise):
            cell = table.get((share, level))
            if cell is None:
                continue
            _mark(ax, column, row, cell, is_near(cell, len(cells)))
    # A3 asks for rises above 2 eps_max.
    edge = np.interp(0.5, noise, np.arange(len(noise)))
    ax.axvline(float(edge), color=GREEN, linestyle="--", linewidth=1.4)
    ax.set_xticks(np.arange(len(noise)), [f"{level:g}" for level in noise])
    ax.set_yticks(np.arange(len(shares)), [f"{share:g}" for share in shares])
    price = "free projections" if cost == 0 else f"a projection costs {cost:g} rises"
    frame(ax, price, r"$\varepsilon_{\max}$ / mean rise", "share of tokens perturbed")


def _mark(ax: Axes, column: int, row: int, cell: Optimality, near: bool | None) -> None:
    """Write the share won; a ring, thin where it is open, says that the search is near."""
    text = "<−1" if cell.won < -1 else f"{cell.won:.2f}".replace("-", "−")
    dark = abs(cell.won) > 0.75
    ax.text(
        column,
        row,
        text,
        ha="center",
        va="center",
        fontsize=6.5,
        color="white" if dark else INK,
    )
    if near is not False:
        ax.plot(
            column,
            row,
            "o",
            markersize=17,
            markerfacecolor="none",
            markeredgecolor=GREEN,
            markeredgewidth=1.6 if near else 0.7,
        )


def diagram_figure(cells: Sequence[Optimality]) -> Figure:
    """Return one panel for each cost."""
    costs = sorted({cell.cost for cell in cells})
    with settings():
        figure = blank(4.2 * len(costs), 3.8)
        panels = np.atleast_1d(figure.subplots(1, len(costs), sharey=True))
        for ax, cost in zip(panels, costs, strict=True):
            draw_diagram(ax, cells, cost)
        for ax in panels[1:]:
            ax.set_ylabel("")
        figure.suptitle(
            "Share of the optimal rule's gain over the final layer that the paper's search wins; "
            f"ring: loss within {NEAR:.0%} of optimal, thin: open; dashed: A3",
            fontsize=9,
        )
        figure.draw_without_rendering()
    return figure


def save_diagram(cells: Sequence[Optimality], path: Path) -> None:
    """Draw the phase diagrams into a file."""
    save_figure(path, lambda: diagram_figure(cells))


def save_solution(found: RuleComparison, path: Path) -> None:
    """Draw the region and the gaps into a file."""

    def draw() -> Figure:
        figure = blank(9.6, 4.2)
        left, right = figure.subplots(1, 2)
        draw_region(left, found.region)
        draw_gaps(right, found.gaps)
        return figure

    save_figure(path, draw)
