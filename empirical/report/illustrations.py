"""Each figure of a model with the one message that its numbers bear out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from empirical.analysis.audit import Audit, Status
from empirical.analysis.validate import Comparison, Validation
from empirical.numbers import general, number, percent
from empirical.report.curves import Curves
from empirical.report.figures import (
    draw_calibration,
    draw_depths,
    draw_differences,
    draw_entropy_bands,
    draw_guarantee,
    draw_token_paths,
)
from empirical.report.results import ModelResult
from empirical.report.verdict import COVERED, MATERIAL, SEARCH, covering_level
from stopping.figures.inline import SIZE, drawn_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Illustration:
    """A figure for the page: its SVG text, the message, and how to read it."""

    svg: str
    message: str
    note: str

    @classmethod
    def of(
        cls,
        draw: "Callable[[Axes], object]",
        name: str,
        title: str,
        message: str,
        note: str,
        size: tuple[float, float] = SIZE,
    ) -> "Illustration":
        """Draw on one pair of axes; `name`, `title` and `size` are those of `drawn_svg`."""
        svg = drawn_svg(lambda figure: draw(figure.add_subplot()), name, title, size)
        return cls(svg, message, note)


def audit_illustrations(model: ModelResult, name: str) -> tuple[Illustration, ...]:
    """Figures on the assumptions; `name` is unique on the page and prefixes their ids."""
    audit, curves = model.main.audit, model.main.curves
    log_loss = audit.calibration.layers[-1].log_loss.estimate
    found = [
        _guarantee(audit, log_loss, name, model.model),
        _entropy_bands(curves, audit, name, model.model),
        _token_paths(curves, name, model.model),
    ]
    if model.reference is not None:
        found.insert(0, _calibration(audit, name, model.model))
    return tuple(found)


def rule_illustrations(model: ModelResult, name: str) -> tuple[Illustration, ...]:
    """Figures on what the rules cost and how far the search moves; none without references."""
    if model.reference is None:
        return ()
    reference = model.reference
    return _differences(reference.validation, name), _depths(reference.audit, name, model.model)


def _differences(validation: Validation, name: str) -> Illustration:
    rows = [row for row in validation.rows if row.decisive is not None]
    counts = {c: validation.count(c) for c in Comparison}
    return Illustration.of(
        partial(draw_differences, rules=rows, marked=SEARCH),
        f"{name}-rules",
        f"Difference in log-loss of {len(rows)} rules to the final layer, {validation.model}",
        f"Of {validation.compared} rules, {counts[Comparison.BETTER]} predict better than the "
        f"final layer by more than {general(validation.material)} nats, "
        f"{counts[Comparison.WORSE]} worse; of {counts[Comparison.UNDECIDED]} neither can be said.",
        "Intervals hold jointly for all rules, with 5 % error for all together. "
        "Green diamonds: better; orange squares: worse; grey circles: undecided. The shaded row is "
        "the paper's search.",
        size=(4.6, 0.9 + 0.2 * len(rows)),
    )


def _calibration(audit: Audit, name: str, model: str) -> Illustration:
    calibration = audit.calibration
    window = [layer for layer in calibration.layers if layer.in_window]
    worst = max(window, key=lambda layer: abs(layer.gap.estimate))
    if calibration.verdict.status is Status.HOLDS:
        message = (
            f"Entropy and log-loss agree to within {calibration.materiality:g} nats at every layer "
            "that the search reads."
        )
    else:
        gap = worst.gap.estimate
        message = (
            f"At layer {worst.layer} the lens pays {number(abs(gap))} nats "
            f"{'more' if gap > 0 else 'less'} than its entropy promises"
        )
        if worst is window[-1]:
            message += ": no layer is further off than the final one."
        else:
            message += f"; at the final layer {number(window[-1].gap.estimate, signed=True)}."
    return Illustration.of(
        partial(draw_calibration, calibration=calibration),
        f"{name}-calibration",
        f"Mean entropy and mean log-loss by layer, {model}",
        message,
        "If A0 held, both lines would coincide. Bands: 95 %.",
    )


def _entropy_bands(curves: Curves, audit: Audit, name: str, model: str) -> Illustration:
    perturbed, rise = (audit.statistics[key].ours.estimate for key in ("perturbed", "last_rise"))
    return Illustration.of(
        partial(draw_entropy_bands, curves=curves),
        f"{name}-bands",
        f"Median entropy by layer, tokens that rise at the final layer and others, {model}",
        f"{percent(perturbed)} of the tokens rise at the final layer"
        + (f", by {number(rise)} nats on average." if perturbed > 0 else "."),
        "Lines: medians; bands: middle half of the tokens. Grey ground: what the search reads.",
    )


def _depths(audit: Audit, name: str, model: str) -> Illustration:
    shares = [count / audit.tokens for count in audit.statistics.depth_counts]
    leaves, depth = (audit.statistics[k].ours for k in ("leaves", "depth_when_leaving"))
    message = f"The search leaves the final layer on {percent(leaves.estimate)} of the tokens"
    if leaves.estimate > 0:
        message += f" and then goes {number(depth.estimate)} layers back on average"
    return Illustration.of(
        partial(draw_depths, shares=shares),
        f"{name}-depths",
        f"Share of tokens by how far before the final layer the search stops, {model}",
        f"{message}.",
        "Blue: stays; orange: moves.",
    )


def _token_paths(curves: Curves, name: str, model: str) -> Illustration:
    def draw(figure: "Figure") -> None:
        axes = figure.subplots(-(-len(curves.tokens) // 2), 2, sharey=True, squeeze=False)
        draw_token_paths(list(axes.flat), curves)

    svg = drawn_svg(
        draw,
        f"{name}-tokens",
        f"Entropy over the window for {len(curves.tokens)} tokens, {model}",
        (4.6, 3.7),
    )
    return Illustration(
        svg,
        "The search goes back from the final layer while entropy falls, and stops at the ring.",
        "Tokens drawn at random, half of them from those that rise at the final layer. Above each: "
        "the token that the text goes on with.",
    )


def _guarantee(audit: Audit, log_loss: float, name: str, model: str) -> Illustration:
    level = covering_level(audit)
    return Illustration.of(
        lambda ax: draw_guarantee(ax, audit.noise, MATERIAL, log_loss),
        f"{name}-guarantee",
        f"Share of tokens against the guaranteed loss in nats, {model}",
        f"To cover {COVERED}, the guarantee must allow a loss of {number(level.bound)} nats: "
        f"{percent(level.bound_to_log_loss, 0)} of the final layer's whole log-loss.",
        "T9 gives the least noise level eps_max that explains each token; T2 then promises a loss "
        "of at most 2 eps_max. Green line: a loss that matters.",
    )
