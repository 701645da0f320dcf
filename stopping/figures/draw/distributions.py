"""T11 and T12 drawn: the distribution of the stopping layer, exact and simulated."""

from matplotlib.axes import Axes

from stopping.figures.data import RunCurve, StopCurve
from stopping.figures.theme import BLUE, GREEN, INK, MUTED, PURPLE, VERMILION, frame, note

FLAT_STYLES = ((GREEN, "o", -0.12), (PURPLE, "^", 0.0), (VERMILION, "D", 0.12))
RULE_STYLES = ((BLUE, "o", ""), (VERMILION, "s", "////"))


def draw_runs(ax: Axes, data: RunCurve) -> None:
    """T11: probability of overshooting by `j` layers or more, log scale."""
    ax.plot(
        data.steps,
        data.bound,
        color=INK,
        linestyle="--",
        marker="_",
        markersize=16,
        label="$1/(j+1)!$, any noise",
    )
    for (colour, marker, offset), found in zip(FLAT_STYLES, data.flat_simulated, strict=False):
        ax.errorbar(
            data.steps + offset,
            found.frequency,
            2 * found.stderr,
            color=colour,
            marker=marker,
            linestyle="none",
            elinewidth=1,
            label=f"flat $G$, {found.name} noise",
        )
    ax.plot(
        data.steps,
        data.falling,
        color=BLUE,
        linestyle="-",
        label=rf"$G$ falls by {data.fall:g} $\varepsilon_{{\max}}$, exact",
    )
    found = data.falling_simulated
    ax.errorbar(
        data.steps,
        found.frequency,
        2 * found.stderr,
        color=BLUE,
        marker="s",
        elinewidth=1,
        linestyle="none",
        markerfacecolor="white",
        label=f"the same, {found.n:,} draws",
    )
    ax.set_yscale("log")
    ax.set_ylim(data.bound[-1] / 30, 1.6)
    frame(
        ax,
        "T11: without drift the overshoot is a run for any noise; drift shortens it",
        "$j$ (layers)",
        "P(overshoot by $j$ or more)",
    )
    # Bars of error come last in a legend unless told otherwise: bound, flat, falling.
    handles, labels = ax.get_legend_handles_labels()
    order = [0, *range(2, len(handles) - 1), 1, len(handles) - 1]
    ax.legend([handles[i] for i in order], [labels[i] for i in order], loc="upper right")


def draw_stops(ax: Axes, data: StopCurve) -> None:
    """T12: probability of stopping at each layer, bars exact and points simulated."""
    width = 0.8 / len(data.rules)
    last = len(data.latent) - 1
    back = [layer - last for layer in range(last + 1)]
    for i, ((colour, marker, hatch), rule) in enumerate(zip(RULE_STYLES, data.rules, strict=False)):
        at = [layer + (i - (len(data.rules) - 1) / 2) * width for layer in back]
        ax.bar(
            at,
            rule.exact.probability,
            width,
            color=colour,
            alpha=0.35,
            hatch=hatch,
            edgecolor=colour,
            label=rf"$\tau = {rule.exact.tau:g}$, exact",
        )
        found = rule.simulated
        ax.errorbar(
            at,
            found.frequency,
            2 * found.stderr,
            color=INK,
            marker=marker,
            linestyle="none",
            markersize=4,
            elinewidth=1,
            markerfacecolor="white",
            label=rf"$\tau = {rule.exact.tau:g}$, {found.n:,} draws",
        )
    turning = data.turning - last
    ax.axvline(turning, color=MUTED, linestyle=":", linewidth=1.2, zorder=0)
    note(ax, "$V^*$", (turning, 1.0), (3, -9), color=MUTED)
    ax.set_ylim(0.0, 1.0)
    ax.set_xticks(back, [str(layer) if layer else "$L$" for layer in back])
    frame(
        ax,
        "T12: the exact distribution of the stopping layer, and simulation on top of it",
        "layer, counted from $L$",
        "P(stop)",
    )
    ax.legend(loc="upper left")
