"""Claims on what Confident Decoding costs and gains."""

from itertools import groupby

from empirical.numbers import interval, number, percent, points
from empirical.published import (
    ACCURACY,
    BY_QUARTER,
    COST,
    GAIN_BY_TUNING,
    P_SWEEP,
    RIVALS,
    Published,
)
from empirical.studies.ledger.entry import Entry, Topic, Verdict, nothing
from empirical.studies.ledger.evidence import HALF, Evidence, ModelEvidence

VALIDATE, SEARCH = "stopping validate", "search"
COST_COMMAND = "stopping cost --config paper-35b-a3b"
EVALUATE = "stopping evaluate --model MODEL --rule search --prompts BENCHMARK.jsonl"
_ROUNDING = 0.001
"""The published figures have three digits."""


def _rules(evidence: Evidence, *rules: str) -> str:
    return evidence.lines(
        lambda m: (
            ", ".join(f"{r} {number(m.log_loss(r).estimate, signed=True)}" for r in rules) + " nats"
        )
    )


def _projection() -> float:
    return COST.hidden * COST.vocabulary


def _agree(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= _ROUNDING * theirs


def _projections(model: ModelEvidence) -> float:
    return model.validation[SEARCH].overall.projections.estimate


def _lazy_share() -> float:
    """Least cost of the lazy search with the paper's mean depth, a share of the forward pass."""
    return (1 + COST.lazy) * _projection() / COST.forward


def _difficulty(model: ModelEvidence) -> str:
    groups = model.validation[SEARCH].by_difficulty
    ends = groups[0], groups[-1]
    return " → ".join(number(g.measures.log_loss_vs_final.estimate, signed=True) for g in ends)


def _model_row(model: str, rows: list[Published]) -> Entry:
    figures = "; ".join(f"{row.benchmark} {row.plain} → {row.confident}" for row in rows)
    return Entry(
        f"accuracy, {model}",
        Topic.ACCURACY,
        f"accuracy of {model}, final layer → Confident Decoding",
        figures,
        nothing,
        Verdict.NOT_TESTABLE,
        "weights of that size, the benchmarks, and GPUs",
        EVALUATE,
    )


DECODING: tuple[Entry, ...] = (
    Entry(
        "cost-projection",
        Topic.COST,
        "one projection per token, in multiply-adds and relative to the forward pass",
        f"{COST.projection / 1e6:.0f} M, +{percent(COST.projection_share, 2)}",
        lambda _: f"{_projection() / 1e6:.0f} M, +{percent(_projection() / COST.forward, 2)}",
        Verdict.DERIVED,
        "hidden size times vocabulary",
        COST_COMMAND,
        lambda _: (
            _agree(_projection(), COST.projection)
            and _agree(_projection() / COST.forward, COST.projection_share)
        ),
    ),
    Entry(
        "cost-full",
        Topic.COST,
        "a full search of ten layers",
        f"{COST.full_scan / 1e6:,.0f} M, +{percent(COST.full_scan_share, 2)}",
        lambda _: (
            f"{COST.window * _projection() / 1e6:,.0f} M, "
            f"+{percent(COST.window * _projection() / COST.forward, 2)}"
        ),
        Verdict.DERIVED,
        "ten times one",
        COST_COMMAND,
        lambda _: _agree(COST.window * _projection() / COST.forward, COST.full_scan_share),
    ),
    Entry(
        "cost-lazy",
        Topic.COST,
        "a lazy search needs a fraction of one projection more",
        f"{COST.lazy} projections, +{percent(COST.lazy_share, 2)}",
        lambda e: (
            f"at least 1; with that mean depth +{percent(_lazy_share())}\n"
            + e.lines(lambda m: f"{number(_projections(m))} projections")
        ),
        Verdict.CONTRADICTED,
        "to stay at the final layer the search must have read the one before; 0.116 fits the depth",
        COST_COMMAND,
        lambda e: e.all(lambda m: _projections(m) >= 1) and _lazy_share() > COST.lazy_share,
    ),
    Entry(
        "cost-latency",
        Topic.COST,
        "latency grows by less than 2 %",
        f"below +{percent(COST.latency_share, 0)}",
        nothing,
        Verdict.NOT_TESTABLE,
        "their serving engine and GPUs; the prediction from bytes and FLOPs is the command's",
        COST_COMMAND,
    ),
    Entry(
        "gain",
        Topic.ACCURACY,
        "decoding from the valley predicts better than the final layer, without training",
        "",
        lambda e: e.lines(
            lambda m: (
                f"log-loss {interval(m.log_loss(SEARCH), signed=True)} nats, "
                f"accuracy {points(m.accuracy(SEARCH))}"
            )
        ),
        Verdict.NOT_SEEN,
        "not on every model: worse on both bundled ones; the paper's own smallest model loses on "
        "two benchmarks of four",
        VALIDATE,
        lambda e: e.all(lambda m: m.log_loss(SEARCH).low > 0 and m.accuracy(SEARCH).estimate <= 0),
    ),
    *(_model_row(model, list(rows)) for model, rows in groupby(ACCURACY, lambda row: row.model)),
    Entry(
        "p-sweep",
        Topic.ACCURACY,
        "the more often the search is used, the better (GPQA-Diamond by p)",
        "; ".join(f"p = {p:g}: {accuracy}" for p, accuracy in P_SWEEP.items()),
        lambda e: _rules(e, HALF.name, SEARCH),
        Verdict.NOT_TESTABLE,
        "weights of that size; here a larger p loses more",
        f"{VALIDATE} --rule search:p=0.5 --rule search",
    ),
    Entry(
        "shifted",
        Topic.ACCURACY,
        "one or two layers beside the valley are worse than the valley",
        "both directions",
        lambda e: _rules(e, "search -2", "search -1", SEARCH, "search +1", "search +2"),
        Verdict.NOT_SEEN,
        "towards the final layer each step is better, away from it worse",
        VALIDATE,
        lambda e: e.all(
            lambda m: (
                m.log_loss("search +2").high < m.log_loss("search +1").low
                and m.log_loss("search +1").high < m.log_loss(SEARCH).low
            )
        ),
    ),
    Entry(
        "fixed",
        Topic.ACCURACY,
        "fixed layers L-1, L-2, L-4, L-8 are worse than the valley",
        "all of them",
        lambda e: _rules(e, SEARCH, "fixed L-1", "fixed L-2", "fixed L-4", "fixed L-8"),
        Verdict.NOT_SEEN,
        "the layer before the last is better than the valley on one model and no worse on the "
        "other; deeper ones are worse",
        VALIDATE,
        lambda e: (
            any(m.log_loss("fixed L-1").high < m.log_loss(SEARCH).low for m in e.models)
            and e.all(lambda m: m.log_loss("fixed L-8").low > m.log_loss(SEARCH).high)
        ),
    ),
    Entry(
        "rivals",
        Topic.ACCURACY,
        "better than DoLa and SLED (GPQA-Diamond)",
        "; ".join(f"{name} {accuracy}" for name, accuracy in RIVALS.items()),
        nothing,
        Verdict.NOT_TESTABLE,
        "weights of that size; both rivals run in the same hook",
        "stopping evaluate --model MODEL --rule search --rule dola --rule sled",
    ),
    Entry(
        "tuning",
        Topic.ACCURACY,
        "instruct models gain more than their base models, points on average",
        "; ".join(f"{name} +{gain}" for name, gain in GAIN_BY_TUNING.items()),
        nothing,
        Verdict.NOT_TESTABLE,
        "both bundled models are instruct models",
        "stopping evaluate --model BASE --rule search",
    ),
    Entry(
        "difficulty",
        Topic.ACCURACY,
        "gains grow with difficulty (gpt-oss-20b on Omni-MATH, hardest and easiest quarter)",
        "; ".join(f"{plain} → {ours}" for plain, ours in BY_QUARTER.values()),
        lambda e: e.lines(
            lambda m: f"{_difficulty(m)} nats, from one or two steps to five or more"
        ),
        Verdict.NOT_TESTABLE,
        "that model and benchmark; on the bundled models there is no gain at any difficulty",
        f"{VALIDATE} --by-difficulty",
    ),
)
