"""Why the numbers are as they are: only what the intervals bear out, one sentence each."""

from empirical.analysis.audit import Audit
from empirical.analysis.validate import Validation
from empirical.numbers import interval, number, percent

SEARCH = "search"


def explain(audit: Audit, validation: Validation) -> tuple[str, ...]:
    """Say why the rules win or lose, as far as the intervals bear it out."""
    return tuple(
        sentence
        for sentence in (
            _confidence(audit),
            _winners_curse(audit, validation),
            _swaps(validation),
            _hindsight(validation),
        )
        if sentence
    )


def _confidence(audit: Audit) -> str:
    gap, material = audit.calibration.window_gap, audit.calibration.materiality
    final = audit.calibration.layers[-1]
    if gap.low > material:
        return (
            "The lens is over-confident: on average over the window, a layer pays "
            f"{interval(gap)} nats more log-loss than its entropy promises (final layer: "
            f"{number(final.gap.estimate)}). Entropies of such layers are no estimates of loss."
        )
    if gap.high < -material:
        return (
            "The lens is under-confident: on average over the window, a layer pays "
            f"{number(-gap.estimate)} nats less log-loss than its entropy promises."
        )
    return ""


def _winners_curse(audit: Audit, validation: Validation) -> str:
    """What the chosen layers promise and pay, beside the same layers chosen blindly.

    A rule that took each layer as often as the search does, whatever the token, would over-promise
    the mean of the layers' gaps with these weights. What the search over-promises beyond that is
    due to its choosing low entropies: a winner's curse.
    """
    search = validation[SEARCH].overall
    final = audit.calibration.layers[-1].gap
    if not search.optimism.low > max(final.high, audit.calibration.materiality):
        return ""
    promise = (
        f"Where the search stops, entropy promises {number(search.entropy.estimate)} nats and "
        f"{number(search.log_loss.estimate)} are paid: {number(search.optimism.estimate)} too "
        f"little, against {number(final.estimate)} at the final layer."
    )
    # Ends of intervals are averaged as if they were reached together, which only widens them.
    gaps = [layer.gap for layer in audit.calibration.layers[::-1]]
    shares = [count / audit.tokens for count in audit.statistics.depth_counts]
    blind = sum(share * gap.estimate for share, gap in zip(shares, gaps, strict=False))
    highest = sum(share * gap.high for share, gap in zip(shares, gaps, strict=False))
    if search.optimism.low > highest:
        return (
            f"{promise} The same layers, chosen as often but whatever the token, would promise "
            f"only {number(blind)} too little: low entropies choose the layers that happen to be "
            "over-confident on that token, a winner's curse."
        )
    return (
        f"{promise} The same layers, chosen as often but whatever the token, would promise "
        f"{number(blind)} too little: no winner's curse shows, the layers themselves are off."
    )


def _swaps(validation: Validation) -> str:
    search = validation[SEARCH].overall
    regressed, fixed = search.right_to_wrong, search.wrong_to_right
    if not regressed and not fixed:
        return ""
    return (
        f"The search moves {percent(search.moved.estimate, 0)} of the tokens; it turns "
        f"{regressed:,} right predictions wrong and {fixed:,} wrong "
        "ones right."
    )


def _hindsight(validation: Validation) -> str:
    gain = validation.oracle.overall.log_loss_vs_final
    if not gain.high < 0:
        return ""
    return (
        f"There is something to win: the best layer of the window in hindsight is "
        f"{number(-gain.estimate)} nats better than the final layer. Hindsight sees the reference "
        "token, so this is a ceiling and not a target."
    )
