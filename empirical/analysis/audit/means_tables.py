"""What an audit of means prints: rows, contrasts, and sentences that count them."""

from collections.abc import Iterable

from rich.text import Text

from empirical.analysis.audit.means import RAW, Contrast, MeansAudit, MeansRow
from stopping.support.results import Report
from stopping.support.tables import count, number, table


def report(result: MeansAudit) -> Report:
    """All of it."""
    window = result.rows[0].window
    rows = table(
        f"A0 by means: {count(window, 'layer')} below the final one, nats",
        *("model", "variant", "lens", "tokens", "gap", "over", "worst", "at layer", "rise at L"),
        caption="gap: H(L) + KL(final || layer) - H(layer), 0 under A0, positive where the lens is "
        "over-confident; over: layers with a positive gap; rise at L: H(L) - H(L-1)",
    )
    for row in result.rows:
        rows.add_row(
            *(Text(row.model), Text(row.variant), Text(row.lens), f"{row.tokens:,}"),
            number(row.window_gap, "+.2f"),
            f"{row.over} of {row.window}",
            number(row.worst_gap, "+.2f"),
            str(row.worst_layer),
            number(row.rise, "+.2f"),
        )
    yield rows
    if result.contrasts:
        pairs = table("What changes", "from", "model", "within", "gap", "rise at L")
        for contrast in result.contrasts:
            pairs.add_row(
                *(Text(contrast.what), Text(contrast.model), Text(contrast.within)),
                number(contrast.gap_change, "+.2f"),
                number(contrast.rise_change, "+.2f"),
            )
        yield pairs
    yield from sentences(result)


def sentences(result: MeansAudit) -> Iterable[str]:
    """What the rows and contrasts add up to."""
    for lens in dict.fromkeys(row.lens for row in result.rows):
        yield gaps(lens, result.of(lens=lens))
    for lens in dict.fromkeys(row.lens for row in result.rows):
        yield rises(lens, result)
    for what in dict.fromkeys(contrast.what for contrast in result.contrasts):
        pairs = [contrast for contrast in result.contrasts if contrast.what == what]
        for within in dict.fromkeys(pair.within for pair in pairs):
            yield changes(what, within, [pair for pair in pairs if pair.within == within])
    kinds = dict.fromkeys(row.kind for row in result.rows if row.kind)
    if len(kinds) > 1:
        yield (
            "Gap through the raw lens by kind of model: "
            + "; ".join(
                f"{kind} {span([r for r in result.of(lens=RAW) if r.kind == kind])}"
                for kind in kinds
            )
            + "."
        )
    yield result.cannot


def gaps(lens: str, rows: tuple[MeansRow, ...]) -> str:
    """How many rows are over-confident on average, and how many under-confident."""
    over = sum(row.window_gap > 0 for row in rows)
    return (
        f"Through the {lens} lens the mean gap of the window is positive (over-confident) in "
        f"{over} of {count(len(rows), 'model')}, negative (under-confident) in {len(rows) - over}: "
        f"{span(rows)} nats."
    )


def rises(lens: str, result: MeansAudit) -> str:
    """In how many models of each variant the final layer raises mean entropy."""
    parts = []
    for variant in dict.fromkeys(row.variant for row in result.of(lens=lens)):
        rows = result.of(variant, lens)
        parts.append(f"{sum(row.rise > 0 for row in rows)} of {len(rows)} {variant}")
    return (
        f"Through the {lens} lens mean entropy rises from L-1 to L in {' and '.join(parts)} models."
    )


def changes(what: str, within: str, pairs: list[Contrast]) -> str:
    """In how many pairs gap and rise grow."""
    grows = sum(pair.gap_change > 0 for pair in pairs)
    rises = sum(pair.rise_change > 0 for pair in pairs)
    return (
        f"From {what} ({within}) the gap grows in {grows} of {count(len(pairs), 'pair')}, "
        f"the rise at L in {rises}."
    )


def span(rows: Iterable[MeansRow]) -> str:
    """Least and greatest gap, signed."""
    found = [row.window_gap for row in rows]
    if not found:
        return "none"
    ends = [number(end, "+.2f") for end in (min(found), max(found))]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
