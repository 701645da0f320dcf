"""What a comparison of rules prints: the value in its bracket, the region, and every gap."""

from rich.table import Table

from stopping.optimal.comparison import RuleComparison
from stopping.optimal.region import summarise
from stopping.support.results import Report
from stopping.support.tables import table


def report(found: RuleComparison) -> Report:
    """All of it, and which rule is nearest to the optimum."""
    recall = "with recall" if found.recall else "without recall"
    yield (
        f"window of {found.rule.K} steps, {found.cost:g} nats a projection, {recall}, "
        f"{found.paths:,} tokens, seed {found.seed}"
    )
    yield value_text(found)
    yield region(found)
    yield gaps(found)
    bounded = [gap for gap in found.gaps[1:] if gap.bounded]
    if bounded:
        best = min(bounded, key=lambda gap: gap.loss)
        yield (
            f"Nearest rule: {best.name}, {best.gap:+.4f} nats (s.e. {best.gap_stderr:.4f}) from "
            f"the rule found, at most {best.most:.4f} (s.e. {best.most_stderr:.4f}) from the "
            "optimum."
        )


def value_text(found: RuleComparison) -> str:
    """The value's two bounds with their errors, the bracket, and what to make of crossed ones."""
    bracket = found.bracket
    text = (
        f"value: at least {found.lower.mean:.4f} (s.e. {found.lower.stderr:.4f}), at most "
        f"{found.upper.mean:.4f} (s.e. {found.upper.stderr:.4f}) nats"
    )
    if not bracket.explained:
        return (
            f"{text}. The two crossed by more than their errors at {bracket.level:.0%} allow: "
            "trust neither, and repeat with more --paths or another --seed."
        )
    text += f", so in [{bracket.low:.4f}, {bracket.high:.4f}] at {bracket.level:.0%}"
    if bracket.crossed:
        text += f". Crossed within the errors: the value is about {bracket.about:.4f}."
    return text


def region(found: RuleComparison) -> Table:
    """When the rule stops: what it believes on either side of the border."""
    rows = table(
        "Stopping region",
        *(
            "projections",
            "reached",
            "stop",
            "P(V* below) at stop",
            "on",
            "planned gain at stop",
            "on",
        ),
        caption="quartiles over tokens; gain: of the best plan that reads nothing more, nats",
    )
    for sample in found.region:
        step = summarise(sample)
        rows.add_row(
            str(step.projections),
            f"{step.reached:.1%}",
            f"{step.stops:.1%}",
            *map(_quartiles, (step.belief_stop, step.belief_go, step.gain_stop, step.gain_go)),
        )
    return rows


_OPTIMUM = "gap: to the rule found; that to the optimum lies between it and 'at most'"
_UNBOUNDED = "\n* reads fewer layers, or in another order, than a backward scan: not bounded"


def gaps(found: RuleComparison) -> Table:
    """Every rule's loss and its gap."""
    rows = table(
        "Optimality gap of every rule, nats",
        *("rule", "loss", "s.e.", "gap", "s.e.", "at most", "projections", "at L"),
        caption=_OPTIMUM + ("" if all(gap.bounded for gap in found.gaps) else _UNBOUNDED),
    )
    for gap in found.gaps:
        rows.add_row(
            gap.name + ("" if gap.bounded else " *"),
            f"{gap.loss:.4f}",
            f"{gap.stderr:.4f}",
            "–" if gap is found.gaps[0] else f"{gap.gap:+.4f}",
            "–" if gap is found.gaps[0] else f"{gap.gap_stderr:.4f}",
            f"{gap.most:.4f}" if gap.bounded else "–",
            f"{gap.projections:.2f}",
            f"{gap.share_final:.0%}",
            end_section=gap is found.gaps[0],
        )
    return rows


def _quartiles(values: tuple[float, float, float]) -> str:
    low, middle, high = values
    return "–" if middle != middle else f"{low:.2f} {middle:.2f} {high:.2f}"
