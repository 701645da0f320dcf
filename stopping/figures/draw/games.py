"""T6 to T8 drawn: values of the game, the mixing probability, and what one trace proves."""

import numpy as np
from matplotlib.axes import Axes

from stopping.figures.data import MixingCurve, TokenCertificate, ValueCurve
from stopping.figures.theme import BLUE, GREEN, INK, MUTED, VERMILION, frame, note

PROGRAM_MARKERS = ("o", "+", "x", "s")
MIXING_STYLES = ((BLUE, "-"), (VERMILION, "--"), (BLUE, "-."), (VERMILION, ":"))


def draw_values(ax: Axes, data: ValueCurve) -> None:
    """T6, T7: the least worst case at each observed rise."""
    ax.plot(data.rise, data.deterministic, color=VERMILION, linestyle="--", label="deterministic")
    ax.plot(data.rise, data.randomised, color=BLUE, label="randomised: the hedged search")
    for marker, K, values in zip(PROGRAM_MARKERS, data.windows, data.programs, strict=False):
        ax.plot(
            data.programmed,
            values,
            color=INK,
            linestyle="none",
            marker=marker,
            markersize=8,
            markerfacecolor="none",
            label=f"linear program, $K = {K}$",
        )
    for limit, name in (
        (data.deterministic_limit, r"$2\,\varepsilon_{\max}$"),
        (data.randomised_limit, r"$\varepsilon_{\max}$"),
    ):
        ax.axhline(limit, color=MUTED, linestyle=":", linewidth=1.2, zorder=0)
        note(
            ax,
            name,
            (data.rise[-1], limit),
            (0, 3),
            ha="right",
            color=MUTED,
        )
    ax.set_xlim(0.0, data.rise[-1])
    ax.set_ylim(0.0, data.deterministic_limit * 1.15)
    frame(
        ax,
        "T6, T7: randomising by the rise\nhalves the worst case",
        r"observed rise $d = x[L] - x[L-1]$ (units of $\varepsilon_{\max}$)",
        r"worst expected excess (units of $\varepsilon_{\max}$)",
    )
    ax.legend(loc="center right", bbox_to_anchor=(1.0, 0.7))


def draw_mixing(ax: Axes, data: MixingCurve) -> None:
    """The worst case of the mixing probability `p`: no constant does what the hedge does."""
    for (colour, line), series in zip(MIXING_STYLES, data.series, strict=False):
        window = "$K = 1$" if series.K == 1 else rf"$K \geq {series.K}$"
        ax.plot(
            data.p,
            series.worst,
            color=colour,
            linestyle=line,
            label=rf"{window}, tax $\leq {series.tax_max:g}\,\varepsilon_{{\max}}$",
        )
        ax.plot(
            [series.best],
            [np.interp(series.best, data.p, series.worst)],
            color=colour,
            marker="o",
            clip_on=False,
            zorder=3,
        )
    ax.axhline(data.hedged, color=GREEN, linestyle="-.", linewidth=1.4)
    note(ax, "hedged search", (0.02, data.hedged), (0, 3))
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(0.0, max(series.worst.max() for series in data.series) * 1.02)
    frame(
        ax,
        "Mixing: no constant $p$ hedges\n(dots: the best $p$)",
        "$p$",
        r"worst expected excess (units of $\varepsilon_{\max}$)",
    )
    ax.legend(loc="upper right")


def draw_token(ax: Axes, data: TokenCertificate) -> None:
    """One token: what is read, the band that A2 allows `G`, and where the rules stop."""
    layer = _from_last(data)
    ax.fill_between(
        layer,
        data.x - data.eps_max,
        data.x + data.eps_max,
        color=BLUE,
        alpha=0.15,
        linewidth=0,
        label=r"$x \pm \varepsilon_{\max}$",
    )
    ax.plot(layer, data.x, color=BLUE, marker="o", markersize=4, label="$x$, read")
    ax.plot(layer, data.latent, color=MUTED, linestyle="--", label="$G$, not seen")
    top = float(data.x.max())
    for column, name, colour, marker in (
        (data.turning, "$V^*$", MUTED, "*"),
        (data.guarded, "guarded", GREEN, "s"),
        (data.search, "search", VERMILION, "v"),
    ):
        ax.axvline(layer[column], color=colour, linestyle=":", linewidth=1.3, zorder=0)
        ax.plot([layer[column]], [data.x[column]], color=colour, marker=marker, markersize=9)
        # The two rules stand left of their lines and V* right of its own, so none overlap.
        side = "left" if name == "$V^*$" else "right"
        note(
            ax,
            name,
            (layer[column], top),
            (3 if side == "left" else -3, 0),
            va="top",
            ha=side,
            color=colour,
        )
    frame(
        ax,
        "One trace, read backwards: the search runs on with the noise, the guard stops it",
        "",
        r"entropy (units of $\varepsilon_{\max}$)",
    )
    ax.legend(loc="upper left")


def draw_certificate(ax: Axes, data: TokenCertificate) -> None:
    """The same token: what the trace proves of each layer's excess, and the truth."""
    layer = _from_last(data)
    ax.plot(
        layer,
        data.certificate,
        color=VERMILION,
        linestyle="none",
        marker="_",
        markersize=18,
        markeredgewidth=2,
        label="certificate $c(l\\,|\\,x)$",
    )
    ax.bar(layer, data.excess, 0.5, color=MUTED, alpha=0.5, label="excess, not seen")
    for column, name in ((data.search, "search"), (data.guarded, "guarded")):
        note(
            ax,
            f"{name}\n$\\leq$ {data.certificate[column]:.2f}",
            (layer[column], data.certificate[column]),
            (0, 5),
            ha="center",
            fontsize=8,
        )
    ax.set_xticks(layer, [f"{column:d}" if column else "$L$" for column in layer])
    ax.set_ylim(0.0, 1.25 * float(data.certificate.max()))
    frame(
        ax,
        "T8: what this trace alone proves of the loss at each layer",
        "layer, counted from $L$",
        r"excess (units of $\varepsilon_{\max}$)",
    )
    ax.legend(loc="upper left")


def _from_last(data: TokenCertificate) -> list[int]:
    last = len(data.x) - 1
    return [column - last for column in range(last + 1)]
