"""Figures of fits: where tokens turn and how noisy the lens is; what was predicted."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from empirical.fitting.fit import Fit
from empirical.fitting.layers import LayerFit
from stopping.figures.theme import BLUE, GREEN, MUTED, PURPLE, VERMILION, blank
from stopping.support.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND = 0.18
STYLES = {
    ("raw", "reference"): (BLUE, "o", "-"),
    ("raw", "generated"): (VERMILION, "s", "--"),
    ("calibrated", "reference"): (GREEN, "^", "-"),
    ("calibrated", "generated"): (PURPLE, "D", "--"),
}
"""Colour, marker and line by kind of lens and of text."""


def draw_fits(results: Sequence[Fit]) -> "Figure":
    """One row of axes for each fit: turning points, noise in three views, depth of the search."""
    figure = blank(9.2, 3.1 * len(results))
    axes = figure.subplots(len(results), 3, squeeze=False)
    for row, result in zip(axes, results, strict=True):
        draw_turning(row[0], [result])
        draw_noise_views(row[1], result)
        draw_depths(row[2], result)
        row[0].set_title(f"{result.name}, {result.lens}, {result.mode}")
    return figure


def draw_turning(ax: "Axes", results: Sequence[Fit]) -> None:
    """Share of tokens that turn at each layer, with intervals over prompts."""
    _draw_profiles(ax, results, lambda row: row.turning)
    ax.set_xlabel("layer of the turning point V*")
    ax.set_ylabel("share of tokens")


def draw_noise(ax: "Axes", results: Sequence[Fit]) -> None:
    """Fitted noise of the projections at each layer, with intervals over prompts."""
    _draw_profiles(ax, results, lambda row: row.noise)
    ax.set_xlabel("layer")
    ax.set_ylabel("projection noise, nats")
    ax.legend(loc="best")


def _draw_profiles(ax: "Axes", results: Sequence[Fit], of: Callable[[LayerFit], Interval]) -> None:
    for result in results:
        lens = "raw" if result.lens == "raw" else "calibrated"
        colour, marker, style = STYLES[lens, result.mode]
        layers, found = zip(*((row.layer, of(row)) for row in result.layers), strict=True)
        values = np.array([interval.estimate for interval in found])
        ends = np.array([[interval.low, interval.high] for interval in found])
        low, high = np.where(np.isfinite(ends), ends, values[:, None]).T
        ax.fill_between(layers, low, high, color=colour, alpha=BAND, linewidth=0)
        label = f"{lens}, {result.mode}"
        ax.plot(layers, values, color=colour, marker=marker, linestyle=style, label=label)
    ax.set_ylim(bottom=0)


def draw_noise_views(ax: "Axes", result: Fit) -> None:
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
