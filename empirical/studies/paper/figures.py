"""The figures of one model, each beside the paper's own values where it gives some.

Ours are filled marks with 95 % intervals; the paper's, measured on another model, are hollow green
diamonds and stand for the shape alone.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from empirical.numbers import number, percent
from empirical.published import BY_QUARTER, P_SWEEP
from empirical.report.illustrations import Illustration
from empirical.studies.paper.difficulty import Quartile
from empirical.studies.paper.results import ArmResult, ModelResult
from stopping.figures.theme import BLUE, GREEN, MUTED, PURPLE, VERMILION
from stopping.rules import Search
from stopping.support.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def illustrations(model: ModelResult, name: str) -> tuple[Illustration, ...]:
    """Figures of a model; `name` is unique on the page and prefixes their ids."""
    found = [_table(model, name), _deciles(model, name), _entropy(model, name)]
    found.append(_categories(model, name))
    if model.of("p"):
        found.append(_shares(model, name))
    if model.of("temperature"):
        found.append(_temperatures(model, name))
    if model.difficulty is not None:
        found.append(_quarters(model, name))
    return tuple(found)


def draw_gains(ax: "Axes", arms: Sequence[ArmResult]) -> None:
    """Gain of each decoder over plain decoding, points, the first on top."""
    for row, arm in enumerate(reversed(arms)):
        _mark(ax, row, arm.overall.difference, BLUE, "o", vertical=False)
    ax.axvline(0, color=MUTED, linewidth=1)
    ax.set_yticks(range(len(arms)), [arm_label(arm) for arm in reversed(arms)])
    ax.set_xlabel("solved, points more than plain decoding")


def draw_deciles(ax: "Axes", model: ModelResult) -> None:
    """Share of tokens that leave the final layer, by tenth of the text."""
    for decile in model.tokens.by_position:
        _mark(ax, decile.decile, decile.leaves, BLUE, "o")
        if decile.paper is not None:
            _published(ax, decile.decile, 100 * decile.paper)
    _legend(ax, "this model")
    ax.set_ylim(bottom=0)
    ax.set_xticks(range(1, 11))
    ax.set_xlabel("tenth of the text")
    ax.set_ylabel("tokens that leave the final layer, %")


def draw_entropy(ax: "Axes", model: ModelResult) -> None:
    """Tokens that leave, and tokens that become another token, by final-layer entropy."""
    bins = model.tokens.by_entropy
    for x, one in enumerate(bins):
        _mark(ax, x - 0.12, one.leaves, BLUE, "o")
        _mark(ax, x + 0.12, one.substituted, VERMILION, "s")
        if one.paper is not None:
            _published(ax, x + 0.12, 100 * one.paper)
    _legend(ax, "leave the final layer", "another token")
    ax.set_ylim(bottom=0)
    ax.set_xticks(
        range(len(bins)),
        [f"{b.low:g} to\n{b.high:g}" if b.high < 1e9 else f"{b.low:g}\nor more" for b in bins],
    )
    ax.set_xlabel("entropy at the final layer, nats")
    ax.set_ylabel("share of tokens, %")


def draw_categories(ax: "Axes", model: ModelResult) -> None:
    """How many of the tokens of each kind become another token."""
    rows = model.substitutions.categories
    for x, row in enumerate(rows):
        _mark(ax, x, row.substituted, VERMILION, "s")
    ax.set_ylim(bottom=0)
    ax.set_xticks(range(len(rows)), [f"{r.category}\n{r.tokens:,} tokens" for r in rows])
    ax.set_xlim(-0.5, len(rows) - 0.5)
    ax.set_ylabel("become another token, %")


def draw_shares(ax: "Axes", model: ModelResult) -> None:
    """Gain against `p`; the paper's accuracies minus the one at 0."""
    for p, arm in p_sweep(model):
        _mark(ax, p, arm.overall.difference, BLUE, "o")
    for p, accuracy in P_SWEEP.items():
        _published(ax, p, accuracy - P_SWEEP[0.0])
    _legend(ax, "this model")
    ax.axhline(0, color=MUTED, linewidth=1)
    ax.set_xlabel("p, share of tokens on which the search is on")
    ax.set_ylabel("solved, points more than at p = 0")


def draw_temperatures(ax: "Axes", model: ModelResult) -> None:
    """Problems solved by plain decoding and by the search, by temperature."""
    for arm in (model.search, *model.of("temperature")):
        _mark(ax, arm.temperature - 0.012, arm.overall.plain, MUTED, "o")
        _mark(ax, arm.temperature + 0.012, arm.overall.accuracy, BLUE, "s")
    _legend(ax, "plain", "search", colours=(MUTED, BLUE), paper=False)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("temperature")
    ax.set_ylabel("solved, %")


def draw_quarters(ax: "Axes", model: ModelResult) -> None:
    """Gain by quarter of difficulty under three rankings, the paper's beside them."""
    assert model.difficulty is not None
    d = model.difficulty
    series: tuple[tuple[Sequence[Quartile], str, str, float], ...] = (
        (d.independent, BLUE, "o", -0.22),
        (d.same_run, VERMILION, "s", 0.0),
        (d.nothing_changed, PURPLE, "^", 0.22),
    )
    for quarters, colour, marker, shift in series:
        for quarter in quarters:
            _mark(ax, quarter.number + shift, quarter.measures.difference, colour, marker)
    for quarter_number, (plain, confident) in BY_QUARTER.items():
        _published(ax, quarter_number, confident - plain)
    _legend(
        ax,
        "search, ranked by other runs",
        "search, ranked by the run compared",
        "nothing changed, ranked by the run compared",
        colours=(BLUE, VERMILION, PURPLE),
        below=True,
    )
    ax.axhline(0, color=MUTED, linewidth=1)
    ax.set_xticks(range(1, 5), ["hardest", "2nd", "3rd", "easiest"])
    ax.set_xlabel("quarter of the problems, by plain decoding")
    ax.set_ylabel("solved, points more")


def p_sweep(model: ModelResult) -> list[tuple[float, ArmResult]]:
    """Return the arms of the `p` sweep with their `p`, the whole search last."""
    from stopping.rules import parse_rule

    rules = [(parse_rule(arm.spec), arm) for arm in (*model.of("p"), model.search)]
    return [(rule.p, arm) for rule, arm in rules if isinstance(rule, Search)]


def arm_label(arm: ArmResult) -> str:
    """Name of an arm, with its temperature where that is not 0."""
    return arm.name + (f", T = {arm.temperature:g}" if arm.temperature > 0 else "")


def _table(model: ModelResult, name: str) -> Illustration:
    better, worse = model.told
    return Illustration.of(
        partial(draw_gains, arms=model.arms),
        f"{name}-gains",
        "Gain of each decoder",
        f"More problems than plain decoding are solved by {better} of {len(model.arms)}, fewer by "
        f"{worse}, by tests that hold for all together.",
        "Each interval at 95 % for itself.",
        size=(4.8, 1.0 + 0.22 * len(model.arms)),
    )


def _deciles(model: ModelResult, name: str) -> Illustration:
    leaves = model.tokens["leaves"].ours.estimate
    return Illustration.of(
        partial(draw_deciles, model=model),
        f"{name}-deciles",
        "Valley rate by position",
        f"The search leaves the final layer on {percent(leaves)} of the tokens.",
        "Hollow diamonds: the three values that the paper gives, for its own model.",
    )


def _entropy(model: ModelResult, name: str) -> Illustration:
    changed = model.tokens["argmax_changed"].ours.estimate
    return Illustration.of(
        partial(draw_entropy, model=model),
        f"{name}-entropy",
        "By final-layer entropy",
        f"{percent(changed)} of the tokens become another token.",
        "Hollow diamonds: the paper's rate of other tokens.",
    )


def _categories(model: ModelResult, name: str) -> Illustration:
    rows = {row.category: row.of_all.estimate for row in model.substitutions.categories}
    parts = ", ".join(f"{kind} {percent(share, 0)}" for kind, share in rows.items())
    return Illustration.of(
        partial(draw_categories, model=model),
        f"{name}-kinds",
        "Kinds of tokens replaced",
        f"Of the tokens that are replaced: {parts}.",
        "Kind of the final layer's token. The paper gives no such numbers.",
    )


def _shares(model: ModelResult, name: str) -> Illustration:
    gain = model.search.overall.difference.estimate
    return Illustration.of(
        partial(draw_shares, model=model),
        f"{name}-p",
        "Gain against p",
        f"Gain of the search with p = 1: {number(100 * gain, 1, signed=True)} points.",
        "Hollow diamonds: the paper's, at 76.3 % for p = 0.",
    )


def _temperatures(model: ModelResult, name: str) -> Illustration:
    return Illustration.of(
        partial(draw_temperatures, model=model),
        f"{name}-t",
        "Solved by temperature",
        "Plain decoding and the search at each temperature, with the same noise in both.",
        "Exact binomial intervals.",
    )


def _quarters(model: ModelResult, name: str) -> Illustration:
    return Illustration.of(
        partial(draw_quarters, model=model),
        f"{name}-quarters",
        "Gain by difficulty",
        "Ranked by the run that is compared, even a second run of plain decoding would gain on "
        "hard problems and lose on easy ones.",
        "Circles are what the search does; triangles are the artefact alone. Hollow diamonds: the "
        "paper's hardest and easiest quarter.",
        size=(4.8, 4.2),
    )


def _mark(
    ax: "Axes", at: float, of: Interval, colour: str, marker: str, vertical: bool = True
) -> None:
    """Draw an interval of shares as one of per cent; nothing where there is no estimate."""
    estimate, low, high = (100 * v for v in (of.estimate, of.low, of.high))
    if estimate != estimate:
        return
    if low == low and high == high:
        ends = [low, high]
        ax.plot(*(([at, at], ends) if vertical else (ends, [at, at])), color=colour, linewidth=1.4)
    ax.plot(*((at, estimate) if vertical else (estimate, at)), color=colour, marker=marker)


def _published(ax: "Axes", x: float, y: float) -> None:
    ax.plot(x, y, color=GREEN, marker="D", fillstyle="none", markeredgewidth=1.4, zorder=5)


def _legend(
    ax: "Axes",
    *labels: str,
    colours: Sequence[str] = (BLUE, VERMILION),
    paper: bool = True,
    below: bool = False,
) -> None:
    for label, colour, marker in zip(labels, colours, ("o", "s", "^"), strict=False):
        ax.plot([], [], color=colour, marker=marker, linestyle="none", label=label)
    if paper:
        ax.plot([], [], color=GREEN, marker="D", fillstyle="none", linestyle="none", label="paper")
    if below:  # long labels would hide what is drawn
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    else:
        ax.legend(loc="best")
