"""T2 and T5 drawn: bounds, and what the worst noise attains of them."""

from matplotlib.axes import Axes

from stopping.figures.data import ExcessCurve, ToleranceCurve
from stopping.figures.theme import BLUE, INK, MUTED, VERMILION, frame, legend_below, note


def draw_excess(ax: Axes, data: ExcessCurve) -> None:
    """T2: worst excess as a share of the bound over the drift, adversarial and random noise."""
    ax.axhline(1.0, color=INK, linestyle="--", linewidth=1.2)
    note(
        ax,
        r"bound $2\,\varepsilon_{\max}$",
        (data.drift[-1], 1.0),
        (0, 4),
        va="bottom",
        ha="right",
    )
    ax.plot(
        data.drift,
        data.adversarial,
        color=VERMILION,
        label=f"worst admissible noise, $K = {data.K}$",
    )
    ax.plot(
        data.drift,
        data.uniform,
        color=BLUE,
        marker=".",
        markersize=4,
        linestyle="none",
        label=f"worst of {data.tokens:,} draws, uniform",
    )
    ax.plot(data.drift, data.mean, color=MUTED, linestyle=":", label="their mean")
    frame(
        ax,
        "T2 is tight: the worst noise comes as near to the bound as it likes",
        r"fall of $G$ per layer below $V^*$ (units of $\varepsilon_{\max}$)",
        r"excess / $2\,\varepsilon_{\max}$",
    )
    ax.set_xlim(0.0, data.drift[-1])
    ax.set_ylim(0.0, 1.12)
    legend_below(ax, 3)


def draw_tolerance(ax: Axes, data: ToleranceCurve) -> None:
    """T5: the bound on the excess and the rise that containment asks for, over the tolerance."""
    ax.plot(data.tau, data.required, color=BLUE, linestyle="--")
    ax.plot(data.tau, data.refuted, color=BLUE, linestyle="none", marker="s", markersize=4)
    ax.plot(data.tau, data.bound, color=VERMILION)
    ax.plot(data.tau, data.attained, color=VERMILION, linestyle="none", marker="o", markersize=4)
    middle = len(data.tau) // 2
    note(
        ax,
        "rise per layer that containment needs\n(squares: largest rise that noise can hide)",
        (data.tau[middle], data.required[middle]),
        (-10, 10),
        ha="right",
        color=BLUE,
    )
    note(
        ax,
        "bound on the excess\n(dots: worst noise)",
        (data.tau[middle], data.bound[middle]),
        (10, 10),
        ha="left",
        color=VERMILION,
    )
    frame(
        ax,
        "T5: what a tolerance saves in excess, it asks for in rise",
        r"tolerance $\tau$ (units of $\varepsilon_{\max}$)",
        r"units of $\varepsilon_{\max}$",
    )
    ax.set_xlim(data.tau[0] - 0.03, data.tau[-1] + 0.03)
    ax.set_ylim(-0.1, data.required[-1] + 0.6)
