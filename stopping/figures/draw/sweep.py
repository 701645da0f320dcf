"""The landscape drawn: where the search loses less than the final layer, and what is best where."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap, ListedColormap, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from stopping.figures.theme import (
    BLUE,
    GREEN,
    GRID,
    INK,
    MUTED,
    PURPLE,
    VERMILION,
    blank,
    frame,
    mathematics,
    save_figure,
    settings,
)
from stopping.rules import AbstractRule, Final, Search
from stopping.simulation.sweep import Losses, World, lead
from stopping.types import FloatArray

LINEAR = 0.1
"""Gains below it are drawn in proportion, above by their logarithm: small losses stay visible."""
_GAIN = LinearSegmentedColormap.from_list("gain", [VERMILION, "#ffffff", BLUE])
_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, "#e69f00", "#56b4e9", "#f0e442", INK)

Landscape: TypeAlias = Mapping[World, Losses]


def draw_gain(
    ax: Axes, cells: Landscape, rules: Sequence[AbstractRule], share: float, most: float
) -> QuadMesh:
    """How much less the search loses than the final layer; the line is where that ends."""
    search, final = (_place(rules, kind) for kind in (Search, Final))
    drifts, rises = _axes(cells)

    gains = _table(cells, share, lambda cell: cell.mean[final] - cell.mean[search])
    mesh = _show(
        ax, gains, drifts, rises, cmap=_GAIN, norm=SymLogNorm(LINEAR, vmin=-most, vmax=most)
    )
    leads = _table(cells, share, lambda cell: lead(cell, search, final))
    if len(drifts) > 1 and len(rises) > 1 and leads.min() < 0 < leads.max():
        ax.contour(rises, drifts, leads, levels=[0.0], colors=INK, linewidths=1.2)
    frame(ax, f"{100 * share:g} % perturbed", "rise beyond $V^*$", "drift per layer")
    return mesh


def draw_best(ax: Axes, cells: Landscape, share: float, best: Sequence[int]) -> None:
    """Which rule loses least in the mean; `best` are the rules that have a colour."""
    drifts, rises = _axes(cells)

    def rank(cell: Losses) -> float:
        return float(best.index(cell.best) if cell.best in best else len(best))

    colours = ListedColormap([*_COLOURS[: len(best)], GRID])
    norm = BoundaryNorm(np.arange(len(best) + 2) - 0.5, len(best) + 1)
    _show(ax, _table(cells, share, rank), drifts, rises, cmap=colours, norm=norm)
    frame(ax, "", "rise beyond $V^*$", "drift per layer")


def landscape_figure(cells: Landscape, rules: Sequence[AbstractRule]) -> Figure:
    """Two panels for each share of perturbed tokens: the search's gain, and the best rule.

    Without the search or the final layer among the rules there is only the second.
    """
    shares = sorted({world.perturbed for world in cells})
    compared = all(any(isinstance(r, kind) for r in rules) for kind in (Search, Final))
    counts = Counter(cell.best for cell in cells.values())
    best = [rule for rule, _ in counts.most_common(len(_COLOURS))]
    with settings():
        figure = blank(max(5.0, 2.3 * len(shares) + 1.2), 5.6 if compared else 3.4)
        panels = figure.subplots(1 + compared, len(shares), squeeze=False, sharex=True, sharey=True)
        if compared:
            search, final = (_place(rules, kind) for kind in (Search, Final))
            gains = [abs(c.mean[final] - c.mean[search]) for c in cells.values()]
            most = max(LINEAR, *gains)
            for ax, share in zip(panels[0], shares, strict=True):
                image = draw_gain(ax, cells, rules, share, most)
                ax.set_xlabel("")
            bar = figure.colorbar(image, ax=panels[0], pad=0.01)
            bar.set_label("gain of the search")
        for ax, share in zip(panels[-1], shares, strict=True):
            draw_best(ax, cells, share, best)
            if not compared:
                ax.set_title(f"{100 * share:g} % perturbed")
        for ax in panels[:, 1:].flat:
            ax.set_ylabel("")
        names = [rules[rule].name for rule in best]
        handles = [Patch(color=c, label=n) for c, n in zip(_COLOURS, names, strict=False)]
        if len(counts) > len(best):
            handles.append(Patch(color=GRID, label="another"))
        figure.legend(
            handles=handles,
            title="least mean excess",
            loc="outside lower center",
            ncols=4,
            fontsize=8,
            title_fontsize=8,
        )
        uniform = next(iter(cells)).law == "uniform"
        noise = mathematics("eps_max") if uniform else r"$\sigma$"
        figure.suptitle(
            "Where the search loses less than the final layer (blue), and which rule is best; "
            f"all in units of {noise}"
            if compared
            else f"Which rule is best; all in units of {noise}",
            fontsize=9,
            color=MUTED,
        )
        figure.draw_without_rendering()
    return figure


def save_landscape(cells: Landscape, rules: Sequence[AbstractRule], path: Path) -> None:
    """Draw the landscape into a file."""
    save_figure(path, lambda: landscape_figure(cells, rules))


def _place(rules: Sequence[AbstractRule], kind: type[AbstractRule]) -> int:
    return next(i for i, rule in enumerate(rules) if isinstance(rule, kind))


def _axes(cells: Landscape) -> tuple[list[float], list[float]]:
    return sorted({w.drift for w in cells}), sorted({w.rise for w in cells})


def _table(cells: Landscape, share: float, value: Callable[[Losses], float]) -> FloatArray:
    drifts, rises = _axes(cells)
    found = np.full((len(drifts), len(rises)), np.nan)
    for world, cell in cells.items():
        if world.perturbed == share:
            found[drifts.index(world.drift), rises.index(world.rise)] = value(cell)
    return found


def _show(
    ax: Axes, table: FloatArray, drifts: list[float], rises: list[float], **colours: Any
) -> QuadMesh:
    ax.grid(visible=False)
    return ax.pcolormesh(rises, drifts, table, shading="nearest", **colours)
