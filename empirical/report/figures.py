"""The figures of the page: each draws typed results on given axes and computes nothing.

One figure says one thing, and its caption (on the page) says what. Series differ by marker and
line style besides colour, and are labelled where they lie.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from empirical.analysis.audit import Calibration, Noise
from empirical.analysis.validate import Comparison, Row
from empirical.report.curves import Curves, EntropyBand
from stopping.figures.theme import BLUE, GREEN, INK, MUTED, PAPER, PURPLE, VERMILION
from stopping.support.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND = 0.18
STYLES = {
    Comparison.BETTER: (GREEN, "D"),
    Comparison.WORSE: (VERMILION, "s"),
    Comparison.UNDECIDED: (MUTED, "o"),
}
"""Colour and marker of a rule against the final layer."""


def draw_calibration(ax: "Axes", calibration: Calibration) -> None:
    """Mean entropy and mean log-loss at each layer of the window; A0 says that they coincide."""
    window = [layer for layer in calibration.layers if layer.in_window]
    layers = [layer.layer for layer in window]
    series = (
        ("log-loss: what it pays", VERMILION, "s", "--", [layer.log_loss for layer in window]),
        ("entropy: what it promises", BLUE, "o", "-", [layer.entropy for layer in window]),
    )
    for label, colour, marker, style, means in series:
        _banded(ax, layers, means, colour)
        estimates = [mean.estimate for mean in means]
        ax.plot(layers, estimates, color=colour, marker=marker, linestyle=style, label=label)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("layer (the last is the final layer)")
    ax.set_ylabel("nats, mean over tokens")
    _whole_layers(ax, layers)
    ax.legend(loc="best")


def draw_entropy_bands(ax: "Axes", curves: Curves) -> None:
    """Median and quartiles of the entropy over the layers, perturbed tokens against the others."""
    series: tuple[tuple[str, EntropyBand | None, str, str, str], ...] = (
        ("rises at the final layer", curves.perturbed, VERMILION, "s", "--"),
        ("does not", curves.others, BLUE, "o", "-"),
    )
    for label, band, colour, marker, style in series:
        if band is None:
            continue
        low, median, high = band.quartiles
        ax.fill_between(curves.layers, low, high, color=colour, alpha=BAND, linewidth=0)
        ax.plot(
            curves.layers,
            median,
            color=colour,
            marker=marker,
            linestyle=style,
            markersize=3.5,
            label=f"{label} ({band.tokens:,} tokens)",
        )
    ax.axvspan(curves.window[0] - 0.5, curves.window[-1] + 0.5, color=MUTED, alpha=0.1, linewidth=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("layer")
    ax.set_ylabel("entropy, nats")
    _whole_layers(ax, curves.layers)
    ax.legend(loc="best")


def draw_token_paths(axes: Sequence["Axes"], curves: Curves) -> None:
    """One panel for each token: its entropies, and a ring where the search stops.

    Panels beyond the number of tokens stay empty.
    """
    for ax in axes[len(curves.tokens) :]:
        ax.set_axis_off()
    for ax, token in zip(axes, curves.tokens, strict=False):
        ax.plot(curves.window, token.entropy, color=BLUE, marker="o", markersize=3)
        ax.plot(
            [curves.window[token.stop]],
            [token.entropy[token.stop]],
            linestyle="none",
            marker="o",
            markersize=10,
            markerfacecolor="none",
            markeredgecolor=VERMILION,
            markeredgewidth=1.8,
            clip_on=False,
        )
        back = len(token.entropy) - 1 - token.stop
        ax.set_title(f"“{token.text}”")
        ax.set_xlabel("stays at the final layer" if back == 0 else f"stops {_layers(back)} before")
        _whole_layers(ax, curves.window, most=4)
    axes[0].set_ylim(bottom=0)  # shared; set before all are drawn it would fix the top as well
    for ax in axes[: len(curves.tokens) : 2]:
        ax.set_ylabel("entropy, nats")


def draw_depths(ax: "Axes", shares: Sequence[float]) -> None:
    """Share of tokens by how many layers before the last the search stops; the first bar stays."""
    depths = np.arange(len(shares))
    colours = [BLUE, *[VERMILION] * (len(shares) - 1)]
    bars = ax.bar(depths, 100 * np.array(shares), color=colours, width=0.72)
    for bar, share in zip(bars, shares, strict=True):
        if share >= 0.0005:
            ax.text(
                bar.get_x() + bar.get_width() / 2,
                bar.get_height(),
                f"{100 * share:.0f}" if share >= 0.01 else "<1",
                ha="center",
                va="bottom",
                fontsize=8,
            )
    ax.grid(visible=False, axis="x")
    ax.set_xticks(depths)
    ax.set_xlabel("layers before the last (0: stays)")
    ax.set_ylabel("tokens, %")


def draw_guarantee(ax: "Axes", noise: Noise, material: float, log_loss: float) -> None:
    """Share of tokens that a guarantee `2 eps_max` covers, against what matters and what is lost.

    `material` is the loss below which a guarantee says something; `log_loss` the final layer's
    mean log-loss, both in nats.
    """
    histogram = noise.histogram
    tokens = noise.overall.tokens
    nats = 2 * np.array(histogram.edges)
    shares = np.concatenate([[0.0], np.cumsum(histogram.counts)]) / tokens
    ax.step(nats, 100 * shares, where="post", color=BLUE)
    ax.fill_between(nats, 100 * shares, step="post", color=BLUE, alpha=BAND, linewidth=0)
    right = max(1.6 * log_loss, 2 * noise.overall.quantile(0.99), 4 * material)
    for value, label, colour, style, height in (
        (material, f"matters: {material:g}", GREEN, "-", 0.9),
        (log_loss, f"whole log-loss of\nthe final layer: {log_loss:.2f}", VERMILION, "--", 0.04),
    ):
        ax.axvline(value, color=colour, linestyle=style, linewidth=1.6)
        ax.text(
            value + 0.015 * right,
            height,
            label,
            transform=ax.get_xaxis_transform(),
            color=INK,
            fontsize=8.5,
            va="bottom",
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
        )
    ax.set_xlim(0, right)
    ax.set_ylim(0, 102)
    ax.set_xlabel("guarantee: loses at most 2 eps_max, nats")
    ax.set_ylabel("tokens covered, %")


def draw_differences(ax: "Axes", rules: Sequence[Row], marked: str | None) -> None:
    """Log-loss of each rule minus the final layer's; left of zero the rule predicts better.

    The rule called `marked` (the paper's search) is drawn on a ground of its own.
    """
    rows = np.arange(len(rules))[::-1]
    ax.axvline(0.0, color=INK, linewidth=1.1)
    for row, rule in zip(rows, rules, strict=True):
        difference = rule.overall.log_loss_vs_final
        colour, marker = STYLES[rule.comparison or Comparison.UNDECIDED]
        ax.plot([difference.low, difference.high], [row, row], color=colour, linewidth=2.4)
        ax.plot([difference.estimate], [row], color=colour, marker=marker, linestyle="none")
        if rule.name == marked:
            ax.axhspan(row - 0.5, row + 0.5, color=PURPLE, alpha=BAND, linewidth=0)
    ax.set_yticks(rows, [rule.name.replace(" -", " −") for rule in rules])
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.set_ylim(-0.7, len(rules) - 0.3)
    ax.set_xlabel("← better · log-loss minus final layer’s, nats · worse →")


def _banded(ax: "Axes", layers: Sequence[int], means: Sequence[Interval], colour: str) -> None:
    low, high = [m.low for m in means], [m.high for m in means]
    ax.fill_between(layers, low, high, color=colour, alpha=BAND, linewidth=0)


def _whole_layers(ax: "Axes", layers: Sequence[int], most: int = 8) -> None:
    """Ticks at whole layer numbers, the final layer always among them."""
    step = max(1, -(-len(layers) // most))
    ax.set_xticks(list(layers)[::-1][::step])
    ax.set_xlim(layers[0] - 0.5, layers[-1] + 0.5)


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
