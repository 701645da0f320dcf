"""What an evaluation prints: problems solved, what became of the texts, and a dry summary."""

import math

from empirical.evaluation.comparison import RuleResult
from empirical.evaluation.run import Evaluation
from stopping.support.results import Report
from stopping.support.tables import count, estimate, number, percent, status_text, table


def report(result: Evaluation) -> Report:
    """The tables and a dry summary."""
    rules = result.rules
    at = result.provenance
    yield (
        f"{at.model}: {count(len(result.problems), 'problem')}, greedy, up to "
        f"{result.settings.max_new_tokens} tokens{', chat template' if at.chat else ''}, "
        f"{at.lens} lens. Plain decoding solves "
        f"{estimate(percent(result.plain_accuracy), '.1f')} %; {result.plain_ended:.0%} of "
        f"its texts end by themselves; mean length {result.plain_length:.1f} tokens."
    )
    solved = table(
        "Problems solved (exact match), against plain decoding",
        *("rule", "solved %", "minus plain (points)", "fixed", "regressed", "p", "verdict"),
        caption=f"p: {test(result)}, adjusted for {count(len(rules), 'rule')}; intervals at "
        f"{rules[0].overall.difference.level:.2%}"
        + ("" if rules[0].anytime is None else ", as if the number of problems had been fixed"),
    )
    for row in rules:
        solved.add_row(
            row.name,
            number(100 * row.overall.accuracy.estimate, ".1f"),
            estimate(percent(row.overall.difference), "+.1f"),
            f"{row.overall.fixed}",
            f"{row.overall.regressed}",
            number(row.p_adjusted, ".3f"),
            status_text(row.comparison),
        )
    yield solved
    texts = table(
        "What the rules do to the texts",
        *("rule", "moved", "substituted", "texts changed", "tokens", "more than plain"),
        caption="moved: tokens taken from an earlier layer; substituted: another token than the "
        "final layer's",
    )
    for row in rules:
        texts.add_row(
            row.name,
            number(row.moved.estimate, ".1%"),
            number(row.substituted.estimate, ".1%"),
            f"{row.changed}",
            number(row.length.estimate, ".1f"),
            estimate(row.longer, "+.1f"),
        )
    yield texts
    groups = rules[0].by_difficulty
    by = table(
        "By difficulty: solved %, minus plain (points)",
        "rule",
        *(f"{g.difficulty or 'unknown'} ({g.measures.problems})" for g in groups),
        caption="* 95% interval of this difference excludes zero; not adjusted",
    )
    by.add_row(
        "plain", *(number(100 * g.measures.plain.estimate, ".1f") for g in groups), end_section=True
    )
    for row in rules:
        by.add_row(row.name, *_difficulties(row))
    yield by
    yield summary(result)


def test(result: Evaluation) -> str:
    """The test that the verdicts come from."""
    return (
        "exact test of whole groups (McNemar's, where there are none)"
        if result.rules[0].anytime is None
        else "valid whenever one stops"
    )


def _difficulties(row: RuleResult) -> list[str]:
    cells = []
    for group in row.by_difficulty:
        m = group.measures
        mark = "*" if m.difference.excludes_zero else ""
        change = number(100 * m.difference.estimate, "+.1f")
        cells.append(f"{number(100 * m.accuracy.estimate, '.1f')}, {change}{mark}")
    return cells


def summary(result: Evaluation) -> str:
    """One dry sentence or two."""
    n = len(result.rules)
    verdicts = [row.comparison.value for row in result.rules]
    counts = ", ".join(
        f"{kind} {verdicts.count(kind)}" for kind in ("better", "worse", "undecided")
    )
    sentence = (
        f"Against plain decoding, of {count(n, 'rule')}: {counts} (5% for all tests together)."
    )
    looked = [row.anytime for row in result.rules if row.anytime is not None]
    if looked:
        asked, offered = len(result.problems), looked[0].offered
        sentence += (
            f" Stopped after {asked:,} of {offered:,} problems."
            if asked < offered
            else f" All {offered:,} problems were asked."
        )
        sizes = [found.fixed_size for found in looked if not math.isnan(found.fixed_size)]
        if sizes:
            sentence += (
                f" At the rates seen, a test of a size fixed beforehand needs {max(sizes):,.0f} "
                "for a power of 80%."
            )
    return sentence
