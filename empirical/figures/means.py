"""The figure of an audit of means: the gap of each layer, one panel a model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from empirical.analysis.audit.means import INSTRUCT, RAW, WINDOW, LayerMeans
from stopping.figures.theme import BLUE, INK, VERMILION, blank, frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3


def draw_means(means: Sequence[LayerMeans]) -> "Figure":
    """Gap against layers below `L`: colour is the variant, dashes are lenses other than raw."""
    models = list(dict.fromkeys(one.model for one in means))
    columns = min(COLUMNS, len(models))
    lines = -(-len(models) // columns)
    figure = blank(3.1 * columns, 2.5 * lines)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True)
    for ax in axes.flat[len(models) :]:
        ax.set_visible(False)
    for ax, model in zip(axes.flat, models, strict=False):
        draw_model(ax, [one for one in means if one.model == model])
    axes[0, 0].legend(fontsize=7)
    return figure


def draw_model(ax: "Axes", means: Sequence[LayerMeans]) -> None:
    """The gaps of one model, all variants and lenses."""
    for one in means:
        gap = one.gap[-WINDOW - 1 :]
        ax.plot(
            np.arange(1 - len(gap), 1),
            gap,
            color=VERMILION if one.variant == INSTRUCT else BLUE,
            linestyle="-" if one.lens == RAW else "--",
            marker="o" if one.lens == RAW else None,
            markersize=3,
            label=f"{one.variant}, {one.lens}",
        )
    ax.axhline(0.0, color=INK, linewidth=0.8)
    frame(ax, means[0].model, "layers from L", "gap, nats")
