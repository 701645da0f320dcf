"""One claim of the paper, its figure, ours, and a verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from empirical.studies.ledger.evidence import Evidence


class Verdict(StrEnum):
    """What became of a claim.

    REPRODUCED: our own measurement or code shows the same. DERIVED: proved here, or following from
    the paper's own figures. CONTRADICTED: a proof, a counterexample or the paper's own data say
    otherwise. NOT_SEEN: other models than the paper's, measured here or published, do not show it;
    the paper's may. NOT_TESTABLE: it needs models, benchmarks or devices that are not here; what
    the bundled models say stands beside it and settles nothing.
    """

    REPRODUCED = "reproduced"
    DERIVED = "derived"
    CONTRADICTED = "contradicted"
    NOT_SEEN = "not seen on these models"
    NOT_TESTABLE = "not testable here"


class Topic(StrEnum):
    """Part of the paper."""

    THEORY = "rule and theory"
    PHASES = "phases of the layers"
    TOKENS = "token statistics"
    COST = "cost"
    ACCURACY = "accuracy"


@dataclass(frozen=True)
class Entry:
    """A claim of the paper.

    Attributes
    ----------
    key : str
        Name, unique in the ledger.
    claim, paper : str
        What is claimed, in our words, and the paper's figure where it gives one.
    ours : callable
        What is found here: lines of text from the evidence.
    verdict, why : Verdict, str
        And the reason, with the label of the theorem where there is one.
    command : str
        Shows it. Upper-case words stand for the reader's own.
    borne_out : callable or None
        Whether the evidence bears out the verdict; None exactly for NOT_TESTABLE.
    """

    key: str
    topic: Topic
    claim: str
    paper: str
    ours: Callable[[Evidence], str]
    verdict: Verdict
    why: str
    command: str
    borne_out: Callable[[Evidence], bool] | None = None

    def __post_init__(self) -> None:
        if (self.borne_out is None) is not (self.verdict is Verdict.NOT_TESTABLE):
            raise ValueError(f"{self.key}: a verdict on evidence says when it is borne out")


def nothing(_: Evidence) -> str:
    """What is found here on a claim of which nothing is."""
    return ""
