"""How far an assumption holds, as a status and one sentence made of numbers."""

from dataclasses import dataclass
from enum import StrEnum

from stopping.support.statistics import Interval

TOLERATED = 0.05
"""Share of tokens on which an assumption may break and still be said to hold."""
OWN_TEXT = (
    "the reference is the model's own greedy text, on which log-loss lies below entropy by "
    "construction: calibration cannot be judged here, trace with reference answers"
)


class Status(StrEnum):
    """Answer of an audit; UNDECIDED where the tokens do not settle it either way."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Verdict:
    """Status of one assumption.

    HOLDS means "not contradicted beyond the stated tolerance": the latent entropies `G` are never
    observed, so no trace can prove A1 to A4.
    """

    assumption: str
    name: str
    status: Status
    sentence: str


def at_most(value: Interval, tolerated: float) -> Status:
    """Whether a value, such as a share of violations, is at most `tolerated`, by its interval."""
    if value.high <= tolerated:
        return Status.HOLDS
    if value.low > tolerated:
        return Status.FAILS
    return Status.UNDECIDED


def within(value: Interval, materiality: float) -> Status:
    """Whether a value is zero to within `materiality`, by its interval (equivalence test).

    HOLDS if the interval lies inside `[-materiality, materiality]`, FAILS if it lies wholly
    outside, UNDECIDED where it straddles an end.
    """
    if -materiality <= value.low and value.high <= materiality:
        return Status.HOLDS
    if value.low > materiality or value.high < -materiality:
        return Status.FAILS
    return Status.UNDECIDED
