"""What a validation prints: differences, behaviour, and a dry summary."""

from empirical.analysis.decisions import LEAST_GROUPS, LEAST_PROMPTS, Comparison
from empirical.analysis.validate.core import Validation
from empirical.analysis.validate.rows import Row
from empirical.traces.window import headline
from stopping.support.results import Report
from stopping.support.tables import count, estimate, number, percent, status_text, table
from stopping.theory.calibration_budget import log_loss_change

OWN_TEXT = (
    "The references are the model's own greedy text: the final layer is right by construction, "
    "log-loss measures agreement with it, and nothing here says whether a rule gains."
)

POOLS = (
    "A pool's log-loss is exact: it follows from the layers' log-probabilities. Its most probable "
    "token and its entropy do not follow from what traces keep, so its accuracy, changes and "
    "optimism are left out (`stopping evaluate` decodes it). Below it stands the draw of the same "
    "weights, in expectation over its draws; no pool is worse than that in log-loss (M1)."
)


def report(result: Validation, name: str, by_difficulty: bool) -> Report:
    """All of it, with the differences by difficulty if asked for."""
    over = count(result.clusters, result.cluster_kind)
    yield headline(name, result.model, result.tokens, result.prompts, result.K, over)
    if result.reference_is_own_text:
        yield OWN_TEXT
    yield from differences(result)
    yield from behaviour(result)
    if any(row.kind == "pool" for row in result.rows):
        yield POOLS
    yield from identity(result)
    if by_difficulty:
        yield from difficulties(result)
    yield summary(result)


def differences(result: Validation) -> Report:
    """Log-loss and accuracy of every rule, against the final layer and the oracle."""
    caption = "regret: log-loss above the oracle's"
    if not result.reference_is_own_text:
        caption += (
            f"; verdict: log-loss, {count(result.compared, 'comparison')} at 5% together, better "
            f"or worse by more than {result.material:g} nats"
        )
    rows = table(
        "Rules against the final layer (log-loss in nats)",
        *("rule", "loss", "loss minus final", "acc. %", "acc. minus final", "regret", "verdict"),
        caption=caption,
    )
    for row in result.table:
        m, baseline = row.overall, row is result.final
        rows.add_row(
            row.name,
            number(m.log_loss.estimate, ".3f"),
            "–" if baseline else estimate(m.log_loss_vs_final, "+.3f"),
            number(100 * m.accuracy.estimate, ".1f"),
            "–" if baseline else estimate(percent(m.accuracy_vs_final), "+.1f"),
            number(m.regret.estimate, ".3f"),
            status_text(row.comparison),
            end_section=row is result.table[len(result.rivals)] or row is result.rows[-2],
        )
    yield rows


def behaviour(result: Validation) -> Report:
    """How often and how far each rule moves, what it costs and what it promises."""
    rows = table(
        "What the rules do",
        *("rule", "moved", "changed", "of moved", "regressed", "fixed"),
        *("depth", "extra", "entropy", "optimism"),
        caption="changed: another argmax than the final layer's; regressed, fixed: predictions "
        "from right to wrong, from wrong to right; extra: projections per token beyond the final "
        "layer's; optimism: log-loss minus entropy at the chosen layer, nats",
    )
    for row in result.rows:
        m = row.overall
        rows.add_row(
            row.name,
            number(m.moved.estimate, ".1%"),
            number(m.substituted.estimate, ".1%"),
            number(m.substituted_when_moved.estimate, ".1%"),
            number(m.right_to_wrong, ","),
            number(m.wrong_to_right, ","),
            number(m.depth.estimate, ".2f"),
            number(m.projections.estimate, ".2f"),
            number(m.entropy.estimate, ".2f"),
            number(m.optimism.estimate, "+.2f"),
            end_section=row is result.final or row is result.rows[-2],
        )
    yield rows


def identity(result: Validation) -> Report:
    """C1: what each rule promises, what its layers owe, and that the two make what it loses."""
    rows = table(
        "From entropy to log-loss (C1), nats",
        *("rule", "promised", "gap there", "gap of final", "sum", "measured"),
        caption="promised: fall of entropy, final layer minus chosen one; gap: log-loss minus "
        "entropy, at the chosen and at the final layer; -promised + gap there - gap of final = the "
        "difference in log-loss, for every rule",
    )
    final_gap = result.final.overall.optimism.estimate
    for row in result.rows[1:]:
        m = row.overall
        if row.kind == "pool":
            continue
        change = log_loss_change(m.drop.estimate, m.optimism.estimate, final_gap)
        rows.add_row(
            row.name,
            *(number(value, "+.3f") for value in (m.drop.estimate, m.optimism.estimate, final_gap)),
            number(float(change), "+.3f"),
            number(m.log_loss_vs_final.estimate, "+.3f"),
            end_section=row is result.rows[-2],
        )
    yield rows


def difficulties(result: Validation) -> Report:
    """Differences to the final layer by difficulty."""
    groups = result.final.by_difficulty
    if not groups:
        yield "(the traces know no difficulty)"
        return
    rows = table(
        "By difficulty: log-loss minus final (nats) / accuracy minus final",
        "rule",
        *(f"{g.difficulty or 'unknown'} ({g.measures.tokens:,})" for g in groups),
        caption="* 95% interval of this difference excludes zero; not adjusted for comparisons",
    )
    for row in result.rows[1:]:
        rows.add_row(row.name, *difficulty_cells(row), end_section=row is result.rows[-2])
    yield rows


def difficulty_cells(row: Row) -> list[str]:
    """Both differences for each difficulty."""
    cells = []
    for group in row.by_difficulty:
        loss, accuracy = group.measures.log_loss_vs_final, group.measures.accuracy_vs_final
        cells.append(
            f"{number(loss.estimate, '+.2f')}{'*' if loss.excludes_zero else ' '} / "
            f"{number(accuracy.estimate, '+.1%')}{'*' if accuracy.excludes_zero else ' '}"
        )
    return cells


def summary(result: Validation) -> str:
    """One dry sentence or two."""
    if result.reference_is_own_text:
        return f"{count(result.compared, 'comparison')}, no verdict on the model's own text."
    counts = [f"{c} {result.count(c)}" for c in Comparison]
    sentence = (
        f"Against the final layer, of {count(result.compared, 'comparison')}: {', '.join(counts)} "
        f"(log-loss, 5% for all together). {too_few(result)}{hindsight(result)}"
    )
    search = next((row for row in result.rows if row.name == "search"), None)
    if search is not None:
        m = search.overall
        sentence += (
            f" The search changes log-loss by {estimate(m.log_loss_vs_final, '+.2f')} nats and "
            f"accuracy by {estimate(percent(m.accuracy_vs_final), '+.1f')} points."
        )
    return sentence


def too_few(result: Validation) -> str:
    """Say how many comparisons rest on too few prompts to be decided."""
    decisions = [row.decision for row in result.table if row.decision]
    few = sum(not decision.enough for decision in decisions)
    if not few:
        return ""
    return (
        f"No verdict for {few} of them, whose moved tokens come from fewer than {LEAST_PROMPTS} "
        f"prompts or {LEAST_GROUPS} groups. "
    )


def hindsight(result: Validation) -> str:
    """Say what hindsight would gain, and how much of it is choosing after the fact."""
    found = result.ceiling
    gain = f"Hindsight would gain {found.gain.estimate:.2f} nats"
    if found.expected is None or found.beyond is None:
        return (
            f"{gain}; how much of it is choosing after the fact, these traces do not say (trace "
            "the model again)."
        )
    return (
        f"{gain}, of which choosing after the fact explains {found.expected.estimate:.2f}; beyond "
        f"that {estimate(found.beyond, '+.3f')} are left."
    )
