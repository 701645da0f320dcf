"""How far an assumption holds, as a status and one sentence made of numbers."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from empirical.intervals import Ratio
from empirical.traces.window import Sample
from stopping.support.statistics import Interval, clusters_needed

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


def judge_share(sample: Sample, share: Ratio, tolerated: float) -> tuple[Status, str]:
    """Whether a share of tokens is at most `tolerated`, and what hinders it from being shown.

    Judged by `stopping.support.statistics.cluster_share`, so that neither answer is wrong with a
    probability above 5 %. The text is empty unless too few clusters have a token that is asked.
    """
    found = sample.share_that_decides(share)
    status = at_most(found, tolerated)
    clusters, needed = len(np.unique(sample.clusters[share.denominator > 0])), 0
    if status is Status.UNDECIDED and found.estimate <= tolerated:
        needed = clusters_needed(tolerated)
    if clusters >= needed:
        return status, ""
    return status, (
        f"; {clusters} {sample.cluster_kind}s are too few to show that it holds, "
        f"which takes {needed} at least"
    )


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
