"""What an entropy function must do.

A layer is read as the Shannon entropy `H = -sum p log p` of the softmax, in nats.
`shannon` asks for the form up to a unit and `nats` for the unit, so that a logarithm to base 2 and
a wrong formula are told apart; the others add one difficulty each. The reference is computed in
float64 from the very numbers that the function gets.

NaN. A row that holds NaN or +inf, or nothing but -inf, has no distribution: right is to raise or
to give back something that is not finite, never a number that passes for an entropy. A search is
then held to raise or to keep the final layer (its own requirement `nan`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from stopping.testing import entropy_cases as cases
from stopping.testing.arrays import rounded
from stopping.testing.entropy_cases import Rows
from stopping.testing.judges import steady
from stopping.testing.reference import shannon_entropy
from stopping.testing.requirement import Discrepancy, Raised, Requirement, expecting
from stopping.types import FloatArray

if TYPE_CHECKING:
    from stopping.testing.entropy import Entropy


def _answers(subject: Entropy, rows: Rows) -> Discrepancy | None:
    both = Rows(np.repeat(rows.values, 2, axis=0), rows.dtype)
    with expecting("a finite number for each row", lambda: subject.code(both)):
        subject.ask(both, strict=True)
    return None


def _compare(
    subject: Entropy, rows: Rows, right: FloatArray, note: str = " nats", unit: float = 1.0
) -> Discrepancy | None:
    expected = f"{subject.told(right * unit, rows)}{note}"
    with expecting(expected, lambda: subject.code(rows)):
        found = subject.ask(rows)
    if subject.alike(found / unit, right):
        return None
    return Discrepancy(expected, subject.told(found, rows), subject.code(rows))


def _entropy(subject: Entropy, rows: Rows) -> Discrepancy | None:
    return _compare(subject, rows, shannon_entropy(rounded(rows.values, rows.dtype)))


def _shannon(subject: Entropy, rows: Rows) -> Discrepancy | None:
    entries = rows.values.shape[1]
    flat = Rows(np.zeros((1, entries)), rows.dtype)
    with expecting(f"a number for {entries} equal logits", lambda: subject.code(flat)):
        most = float(subject.ask(flat)[0])
    unit = most / np.log(entries)
    if not np.isfinite(unit) or unit == 0:
        said = f"{most} for {entries} equal logits"
        return Discrepancy("a finite number other than 0", said, subject.code(flat))
    right = shannon_entropy(rows.values)
    note = (
        f", which is {right[0] / np.log(entries):.4g} times {most:.6g}: this function gives "
        f"{most:.6g} for {entries} equal logits, and in any unit the entropy is that share of "
        "theirs"
    )
    return _compare(subject, rows, right, note, unit)


def _rows(subject: Entropy, rows: Rows) -> Discrepancy | None:
    with expecting("an answer for each row alone", lambda: subject.code(rows)):
        alone = np.concatenate([subject.ask(Rows(z[None], rows.dtype)) for z in rows.values])
    return _compare(subject, rows, alone, " nats, as for each row alone")


def _nan(subject: Entropy, rows: Rows) -> Discrepancy | None:
    with expecting("an exception, or NaN", lambda: subject.code(rows)):
        try:
            found = subject.ask(rows)
        except Raised:
            return None
    if not np.isfinite(found).any():
        return None
    return Discrepancy("an exception, or NaN", subject.told(found, rows), subject.code(rows))


def _has_halves(subject: Entropy) -> str:
    return "" if cases.halves(subject) else "takes no half precision beside its own"


def _takes_batches(subject: Entropy) -> str:
    return "" if subject.batched else "takes one row at a time"


def _is_entropy(
    name: str,
    statement: str,
    rows: Callable[[Entropy], st.SearchStrategy[Rows]],
    before: tuple[str, ...],
) -> Requirement[Entropy]:
    """Return the requirement that such rows get the entropy of their softmax."""
    return Requirement(name, "the lens", statement, rows, _entropy, presupposes=before)


BASE = ("answers", "deterministic", "repeatable")
PLAIN = (*BASE, "shannon", "nats")

ENTROPY: tuple[Requirement[Entropy], ...] = (
    Requirement(
        "answers", "the lens", "gives one finite number for each row", cases.small, _answers
    ),
    *steady("the lens", "the logits", "number", cases.small, cases.pairs, ("answers",)),
    Requirement(
        "shannon",
        "the lens",
        "is -sum p log p of the softmax, in any unit",
        cases.small,
        _shannon,
        presupposes=BASE,
    ),
    _is_entropy(
        "nats",
        "gives log V for V equal logits: natural logarithm, positive",
        cases.uniform,
        (*BASE, "shannon"),
    ),
    _is_entropy(
        "peaked",
        "gives almost 0 where one token leads, be it by thousands of nats",
        cases.peaked,
        PLAIN,
    ),
    _is_entropy(
        "masked",
        "leaves out entries at -inf",
        cases.hidden,
        (*PLAIN, "peaked"),
    ),
    _is_entropy(
        "shifted",
        "does not change when a constant is added to all logits",
        cases.shifted,
        PLAIN,
    ),
    _is_entropy(
        "vocabulary",
        "is right for vocabularies of up to 200,000 tokens",
        cases.large,
        PLAIN,
    ),
    Requirement(
        "half-precision",
        "T4",
        "computes in float32 at least when logits come in half precision",
        cases.half,
        _entropy,
        presupposes=(*PLAIN, "peaked", "masked", "shifted", "vocabulary"),
        applies=_has_halves,
    ),
    Requirement(
        "rows",
        "the lens",
        "gives for each row of a batch what it gives for that row alone",
        cases.batches,
        _rows,
        presupposes=(*PLAIN, "shifted"),
        applies=_takes_batches,
    ),
    Requirement(
        "nan",
        "T4",
        "raises, or gives NaN, where a row has no distribution",
        cases.senseless,
        _nan,
        presupposes=BASE,
    ),
)
