"""Figures of fits: where tokens turn and how noisy the lens is; what was predicted."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from empirical.figures.theme import BLUE, GREEN, INK, MUTED, VERMILION, blank, save_figure
from empirical.fitting.fit import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def save_fits(path: Path, results: Sequence[Fit]) -> None:
    """Draw the profiles of each fit into a file: SVG, PDF or PNG by its suffix.

    Raises
    ------
    UserError
        If the suffix is another, or the folder cannot be written to.
    """
    save_figure(path, lambda: draw_fits(results))


def draw_fits(results: Sequence[Fit]) -> "Figure":
    """One row of axes for each fit."""
    figure = blank(9.2, 3.1 * len(results))
    axes = figure.subplots(len(results), 3, squeeze=False)
    for row, result in zip(axes, results, strict=True):
        draw_fit(row, result)
        row[0].set_title(f"{result.name}, {result.lens}, {result.mode}")
    return figure


def draw_fit(axes: Sequence["Axes"], result: Fit) -> None:
    """Turning law, noise in three views, and the depth of the search, on three axes."""
    draw_turning(axes[0], result)
    draw_noise(axes[1], result)
    draw_depths(axes[2], result)


def draw_turning(ax: "Axes", result: Fit) -> None:
    """Share of tokens that turn at each layer, with intervals over prompts."""
    layers = [row.layer for row in result.layers]
    shares = np.array([row.turning.estimate for row in result.layers])
    ends = np.array([[row.turning.low, row.turning.high] for row in result.layers]).T
    ends = np.where(np.isfinite(ends), ends, shares)
    ax.bar(layers, shares, color=BLUE, width=0.7)
    reach = np.maximum(np.array([shares - ends[0], ends[1] - shares]), 0)
    ax.errorbar(layers, shares, reach, fmt="none", ecolor=INK, elinewidth=1.0, capsize=2)
    ax.set_xlabel("layer of the turning point V*")
    ax.set_ylabel("share of tokens")


def draw_noise(ax: "Axes", result: Fit) -> None:
    """Noise by layer: fitted, from moments, and measured where a calibrated lens traced."""
    rows = result.views.layers
    series = (
        ("fit", BLUE, "o", "-", [(r.layer, r.by_fit.estimate) for r in rows[:-1]]),
        ("moments", VERMILION, "s", "--", [(r.layer, r.by_moments) for r in rows]),
        (
            "measured",
            GREEN,
            "^",
            ":",
            [(r.layer, None if r.measured is None else r.measured.estimate) for r in rows],
        ),
    )
    for label, colour, marker, style, points in series:
        found = [(layer, value) for layer, value in points if value is not None]
        if found:
            ax.plot(
                *zip(*found, strict=True), color=colour, marker=marker, linestyle=style, label=label
            )
    ax.set_ylim(bottom=0)
    ax.set_xlabel("layer")
    ax.set_ylabel("projection noise, nats")
    ax.legend(loc="best")


def draw_depths(ax: "Axes", result: Fit) -> None:
    """Depth of the search: predicted before looking, against held-out tokens."""
    predicted, measured = result.predictive.depth_predicted, result.predictive.depth_measured
    depths = np.arange(len(predicted))
    ax.bar(depths - 0.2, measured, width=0.4, color=MUTED, label="measured")
    ax.bar(depths + 0.2, predicted, width=0.4, color=VERMILION, label="predicted")
    ax.set_xlabel("layers back from the last")
    ax.set_ylabel("share of tokens")
    ax.legend(loc="upper right")
