"""Claims on which published means, the paper's own figures, or a null world have a say."""

from functools import cache

import numpy as np

from empirical.analysis.audit.means import BASE, INSTRUCT, RAW, MeansAudit, audit_means, read_means
from empirical.analysis.null import PUBLISHED_FALL, null_split
from empirical.data import public_means
from empirical.numbers import number, percent
from empirical.published import ACCURACY, ELSEWHERE, PERTURBED, UNPERTURBED, Elsewhere
from empirical.studies.ledger.entry import Entry, Topic, Verdict
from empirical.studies.ledger.evidence import Evidence

MEANS_COMMAND = "stopping audit means"


@cache
def public_audit() -> MeansAudit:
    """The audit of the public means, in the paper's window."""
    return audit_means(read_means(public_means()))


def rising(variant: str) -> tuple[int, int]:
    """How many models of a variant rise from L-1 to L on average, of how many."""
    rows = public_audit().of(variant, RAW)
    return sum(row.rise > 0 for row in rows), len(rows)


def _tax(_: Evidence) -> str:
    (base, bases), (instruct, instructs) = rising(BASE), rising(INSTRUCT)
    changes = [c.rise_change for c in public_audit().contrasts if c.within == RAW]
    return (
        f"mean entropy rises from L-1 to L in {base} of {bases} base models and in {instruct} of "
        f"{instructs} instruct models (4 to 16 billion parameters); from base to instruct the rise "
        f"shrinks in {sum(change < 0 for change in changes)} of {len(changes)} families"
    )


def over_and_under() -> tuple[int, int]:
    """Models whose raw lens is over-confident over the window on average, and under-confident."""
    rows = public_audit().of(lens=RAW)
    over = sum(row.window_gap > 0 for row in rows)
    return over, len(rows) - over


def _larger(_: Evidence) -> str:
    over, under = over_and_under()
    gaps = [row.window_gap for row in public_audit().of(lens=RAW)]
    return (
        f"raw lens over-confident in {over} of {over + under} models, under-confident in {under}: "
        f"mean gap of the window {number(min(gaps), signed=True)} to "
        f"{number(max(gaps), signed=True)} nats"
    )


def _split(_: Evidence) -> str:
    found = null_split()
    return (
        f"no token perturbed: {percent(found.share)} of the tokens rise, by "
        f"{number(found.rise)} nats ({number(found.rising[-2])} → {number(found.rising[-1])}); the "
        f"others fall by {number(found.fall)} ({number(found.others[-2])} → "
        f"{number(found.others[-1])})\n"
        f"the paper's tokens together: L lowers mean entropy by {number(PUBLISHED_FALL)} nats"
    )


def _same_picture(_: Evidence) -> bool:
    found = null_split()
    share = PERTURBED.tokens / (PERTURBED.tokens + UNPERTURBED.tokens)
    return (
        abs(found.share - share) < 0.01
        and abs(found.rise - (PERTURBED.final - PERTURBED.before)) < 0.02
        and abs(found.fall - (UNPERTURBED.before - UNPERTURBED.final)) < 0.1
    )


def first_gain(other: Elsewhere) -> float:
    """The gain in the paper's first table of what another of its tables states again, points."""
    row = next(r for r in ACCURACY if (r.model, r.benchmark) == (other.model, other.benchmark))
    return row.confident - row.plain


def _stated_twice(other: Elsewhere) -> str:
    pair = f" ({other.pair[0]} → {other.pair[1]})" if other.pair else ""
    return (
        f"{other.model} on {other.benchmark}: {number(first_gain(other), 1, signed=True)} in one, "
        f"{number(other.gain, 1, signed=True)}{pair} in another"
    )


def _typical_gain() -> float:
    return float(np.median([row.confident - row.plain for row in ACCURACY]))


PUBLIC: tuple[Entry, ...] = (
    Entry(
        "larger models",
        Topic.THEORY,
        "a lower entropy is a better prediction: on models of 4 to 16 billion parameters",
        "",
        _larger,
        Verdict.NOT_SEEN,
        "A0 fails in all of them, in both directions; published means, so no token and no interval",
        MEANS_COMMAND,
        lambda _: min(over_and_under()) > 0,
    ),
    Entry(
        "alignment tax",
        Topic.PHASES,
        "alignment perturbs the last layers: it is there that entropy rises again",
        "leaves the final layer: base 10.4 %, instruct 12.8 % of the tokens",
        _tax,
        Verdict.NOT_SEEN,
        "on average, the opposite; means hide what single tokens do, and through a trained affine "
        "lens no model rises at all",
        MEANS_COMMAND,
        lambda _: rising(BASE)[0] > rising(INSTRUCT)[0] == 0,
    ),
    Entry(
        "split by sign",
        Topic.TOKENS,
        "two groups of tokens, perturbed and not, show that the final layer raises entropy",
        f"perturbed: {number(PERTURBED.before)} → {number(PERTURBED.final)} nats from L-1 to L; "
        f"others: {number(UNPERTURBED.before)} → {number(UNPERTURBED.final)}",
        _split,
        Verdict.CONTRADICTED,
        "the groups are chosen by the step that the figure shows; a world without any perturbation "
        "makes the same picture",
        "pytest tests/empirical/analysis/test_null.py -k test_without_perturbation",
        _same_picture,
    ),
    Entry(
        "stated twice",
        Topic.ACCURACY,
        "the gains of the paper's table",
        f"median {number(_typical_gain(), 1, signed=True)} points",
        lambda _: "\n".join(map(_stated_twice, ELSEWHERE)),
        Verdict.DERIVED,
        "three pairs are stated again in other tables of the paper with other figures; they differ "
        "by as much as the typical gain is large",
        "stopping evaluate --model MODEL --rule search",
        lambda _: all(abs(first_gain(e) - e.gain) > 0.05 for e in ELSEWHERE),
    ),
)
