"""The paper's two groups of tokens beside those of a world where nothing is perturbed."""

from typing import TYPE_CHECKING, Any

import numpy as np

from empirical.analysis.null import Split
from empirical.numbers import percent
from empirical.published import PERTURBED, UNPERTURBED, GroupMeans
from stopping.figures.theme import BLUE, VERMILION, blank, frame
from stopping.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RISING: dict[str, Any] = {"color": VERMILION, "marker": "s", "label": "rises at L"}
OTHERS: dict[str, Any] = {"color": BLUE, "marker": "o", "label": "others"}


def draw_split(null: Split) -> "Figure":
    """Mean entropies of both groups by layer: left the paper's two layers, right the null world."""
    figure = blank(7.4, 3.0)
    left, right = figure.subplots(1, 2, sharey=True)
    share = PERTURBED.tokens / (PERTURBED.tokens + UNPERTURBED.tokens)
    _draw(left, _ends(PERTURBED), _ends(UNPERTURBED))
    frame(left, f"the paper: {percent(share)} of the tokens rise", "layers from L", "entropy, nats")
    _draw(right, null.rising, null.others)
    frame(right, f"nothing perturbed: {percent(null.share)} rise", "layers from L", "")
    left.set_xticks([-1, 0])
    right.legend()
    return figure


def _ends(group: GroupMeans) -> FloatArray:
    return np.array([group.before, group.final])


def _draw(ax: "Axes", rising: FloatArray, others: FloatArray) -> None:
    layers = np.arange(1 - len(rising), 1)
    ax.plot(layers, others, **OTHERS)
    ax.plot(layers, rising, **RISING)
