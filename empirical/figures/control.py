"""The figure of a positive control: entropy by layer as the dial turns, and the sums solved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stopping.figures.theme import BLUE, GREEN, INK, VERMILION, blank, frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS: tuple[dict[str, Any], ...] = (
    {"color": VERMILION, "marker": "s"},
    {"color": BLUE, "marker": "o"},
    {"color": GREEN, "marker": "^", "linestyle": "--"},
)


@dataclass(frozen=True)
class Panel:
    """One shape: mean entropy by layer for each dial, and the share solved by each decoder.

    `writes` is the number of layers that write, `unperturbed` the share that the model itself
    solves.
    """

    shape: str
    writes: int
    entropy: Mapping[float, Sequence[float]]
    solved: Mapping[str, Sequence[float]]
    unperturbed: float


def draw_control(panels: Sequence[Panel]) -> "Figure":
    """Entropies above, problems solved below, a column for each shape."""
    figure = blank(2.6 * max(len(panels), 2), 5.0)
    axes = figure.subplots(2, len(panels), squeeze=False, sharey="row")
    for column, panel in enumerate(panels):
        draw_entropies(axes[0, column], panel)
        draw_solved(axes[1, column], panel)
    axes[0, 0].set_ylabel("mean entropy, nats")
    axes[1, 0].set_ylabel("sums solved, %")
    axes[0, 0].legend(title="dial", fontsize=7, title_fontsize=7)
    axes[1, 0].legend(fontsize=7)
    return figure


def draw_entropies(ax: "Axes", panel: Panel) -> None:
    """One line a dial, darker as it turns; the layers that write are shaded."""
    for i, (dial, entropy) in enumerate(panel.entropy.items()):
        strength = 0.25 + 0.75 * i / max(len(panel.entropy) - 1, 1)
        layers = np.arange(1 - len(entropy), 1)
        ax.plot(layers, entropy, color=VERMILION, alpha=strength, label=f"{dial:g}")
    ax.axvspan(0.5 - panel.writes, 0.2, color=INK, alpha=0.06, linewidth=0)
    frame(ax, panel.shape, "layers from L", "")


def draw_solved(ax: "Axes", panel: Panel) -> None:
    """One line a decoder, over the turns of the dial."""
    dials = [f"{dial:g}" for dial in panel.entropy]
    for (name, shares), look in zip(panel.solved.items(), LOOKS, strict=False):
        ax.plot(dials, 100 * np.asarray(shares), label=name, **look)
    ax.axhline(100 * panel.unperturbed, color=INK, linewidth=0.8, linestyle=":")
    frame(ax, "", "dial", "")
