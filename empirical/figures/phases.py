"""The figure of the phases: contribution norm and cosine by layer, one column per model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from empirical.analysis.phases import (
    PUBLISHED,
    PUBLISHED_DEPTH,
    Phase,
    Phases,
    PublishedRange,
    Spread,
)
from stopping.figures.theme import BLUE, GREEN, INK, MUTED, PURPLE, VERMILION, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {Phase.GUESS: VERMILION, Phase.REFINE: BLUE, Phase.PERTURB: PURPLE}
MARKERS = {Phase.GUESS: "^", Phase.REFINE: "o", Phase.PERTURB: "s"}


def draw_phases(results: Sequence[Phases]) -> "Figure":
    """Norms above, cosines below; lines are means, bands the tokens' quartiles."""
    from matplotlib.ticker import LogLocator

    figure = blank(4.6 * len(results), 5.0)
    axes = figure.subplots(2, len(results), squeeze=False, sharex="col", sharey="row")
    for column, phases in enumerate(results):
        upper, lower = axes[:, column]
        upper.set_title(phases.model)
        upper.set_yscale("log")
        upper.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        upper.yaxis.set_major_formatter("{x:g}")
        upper.yaxis.set_minor_formatter("")
        _draw(upper, phases, [layer.norm for layer in phases.layers])
        _draw(lower, phases, [layer.cosine for layer in phases.layers])
        upper.axhspan(*phases.band, color=MUTED, alpha=0.12, linewidth=0)
        for published in PUBLISHED:
            _draw_published(upper, phases, published, published.norm)
            _draw_published(lower, phases, published, published.cosine)
        lower.legend(loc="lower center")
        lower.set_xlabel(f"layer (of {phases.depth})")
        for phase in Phase:
            _name(upper, phases, phase)
    axes[0, 0].set_ylabel("contribution norm")
    axes[1, 0].set_ylabel("cosine with the layer below")
    return figure


def _draw(ax: "Axes", phases: Phases, spreads: Sequence[Spread]) -> None:
    numbers = [layer.layer for layer in phases.layers]
    lower, upper = ([s.lower_quartile for s in spreads], [s.upper_quartile for s in spreads])
    ax.fill_between(numbers, lower, upper, color=INK, alpha=0.15, linewidth=0)
    ax.plot(numbers, [s.mean for s in spreads], color=MUTED, linewidth=1.0, zorder=2)
    for phase in Phase:
        members = [layer.layer for layer in phases.of(phase)]
        if members:
            ax.plot(
                members,
                [spreads[number - 1].mean for number in members],
                linestyle="none",
                marker=MARKERS[phase],
                color=COLOURS[phase],
                label=str(phase),
                zorder=3,
            )
    for edge in (phases.boundaries.guess_end, phases.boundaries.refine_end):
        if 0 < edge < phases.depth:
            ax.axvline(edge + 0.5, color=MUTED, linestyle=":", linewidth=1.0)


def _draw_published(
    ax: "Axes", phases: Phases, published: PublishedRange, values: tuple[float, float]
) -> None:
    """Draw the paper's range at the same share of the depth."""
    first, last = {
        Phase.GUESS: (0.4, 1.6),
        Phase.REFINE: (0.15 * phases.depth + 0.5, 0.95 * phases.depth + 0.5),
        Phase.PERTURB: (phases.depth - 0.6, phases.depth + 0.6),
    }[published.phase]
    label = f"paper ({PUBLISHED_DEPTH} layers)" if published.phase is Phase.REFINE else None
    for i, value in enumerate(dict.fromkeys(values)):
        ax.plot(
            [first, last],
            [value, value],
            color=GREEN,
            linestyle="--",
            linewidth=1.8,
            label=label if i == 0 else None,
            zorder=4,
        )


def _name(ax: "Axes", phases: Phases, phase: Phase) -> None:
    """Write the phase's name over its layers: nobody needs the colours to tell them apart."""
    members = phases.of(phase)
    if not members:
        return
    centre = (members[0].layer + members[-1].layer) / 2
    ax.text(
        centre,
        0.97,
        str(phase),
        transform=ax.get_xaxis_transform(),
        ha={Phase.GUESS: "left", Phase.REFINE: "center", Phase.PERTURB: "right"}[phase],
        va="top",
        color=COLOURS[phase],
        fontsize=8.5,
    )
