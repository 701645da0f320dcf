"""The look that all figures share, in whatever colours they are drawn."""

from typing import Any


def shared_settings(ink: str, muted: str, grid: str) -> dict[str, Any]:
    """Return matplotlib settings: quiet axes, a light grid, text as text, reproducible SVG."""
    return {
        "font.size": 9.0,
        "axes.labelsize": 9.0,
        "legend.fontsize": 8.5,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "text.color": ink,
        "axes.edgecolor": muted,
        "axes.labelcolor": ink,
        "xtick.color": muted,
        "ytick.color": muted,
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": grid,
        "grid.linewidth": 0.7,
        "lines.linewidth": 1.7,
        "svg.fonttype": "none",
        "svg.hashsalt": "layer-stopping",
    }
