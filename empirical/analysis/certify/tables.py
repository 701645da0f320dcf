"""What a certificate prints: the tests in their order, and what may be signed."""

import math

from empirical.analysis.certify.core import RiskCertificate, Setting
from stopping.support.results import Report
from stopping.support.tables import NONE, count, number, status_text, table

KEEPS = {
    "log-loss": "linear pool, the final layer's weight",
    "accuracy": "probability of decoding the final layer",
}


def report(result: RiskCertificate, name: str) -> Report:
    """All of it."""
    of = f" ({name})" if name not in ("", result.model) else ""
    yield (
        f"{result.model}{of}: {count(result.tokens, 'token')} of "
        f"{count(result.units, result.unit)}, accepted excess {amount(result, result.alpha)}, "
        f"error {result.delta:g}"
    )
    rows = table(
        f"Excess of {result.loss} over plain decoding",
        *("rule", "share of L", "excess", "at most", "p", "answer"),
        caption=f"share of L: {KEEPS[result.loss]}; tested downwards, each rule at level "
        f"{result.level:.2%}, until the first failure",
    )
    for setting in result.settings:
        answer = "certified" if setting.certified else "not certified"
        untested = math.isnan(setting.p_value)
        rows.add_row(
            setting.rule,
            f"{setting.share:g}",
            number(setting.excess, "+.4f"),
            number(setting.most, ".3f"),
            NONE if untested else number(setting.p_value, ".2g"),
            "not tested" if untested else status_text(answer),
            end_section=setting is last(result, setting.rule),
        )
    yield rows
    yield sentence(result)


def last(result: RiskCertificate, rule: str) -> Setting:
    """The last setting of a rule."""
    return [s for s in result.settings if s.rule == rule][-1]


def amount(result: RiskCertificate, value: float) -> str:
    """An excess with its unit."""
    if result.loss == "log-loss":
        return f"{value:g} nats a token"
    return f"{100 * value:g} points"


def sentence(result: RiskCertificate) -> str:
    """What may be signed."""
    best = result.best
    if best is None:
        return (
            "Nothing is certified: on these prompts no tested share is shown to cost at most "
            f"{amount(result, result.alpha)}. Decode from the final layer."
        )
    how = (
        f"keep a weight of {best.share:g} on the final layer"
        if result.loss == "log-loss"
        else f"decode the final layer with probability {best.share:g} (p = {1 - best.share:g})"
    )
    bound_alone = best.most <= result.alpha
    why = " (by the pool's own bound, whatever the prompts)" if bound_alone else ""
    return (
        f"Certified{why}: {best.rule}, if you {how}. With probability {1 - result.delta:g} over "
        f"the choice of these {result.units} {result.unit}s, its expected excess over plain "
        f"decoding is at most {amount(result, result.alpha)} on {result.unit}s of the same kind. "
        "No assumption is made on the model."
    )
