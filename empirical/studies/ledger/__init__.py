"""The ledger: every claim of the paper beside what is found here, as data.

Each entry holds a claim in our words, the paper's figure, what is found here (computed when asked,
from the theory or from traces), a verdict, and the command that shows it. An entry that gives a
verdict on its own evidence also says when that evidence bears it out, so a test can fail.

Source of the figures: `empirical.published`.
"""

from empirical.studies.ledger.decoding import DECODING
from empirical.studies.ledger.entry import Entry, Topic, Verdict
from empirical.studies.ledger.evidence import Evidence, ModelEvidence, gather
from empirical.studies.ledger.public import PUBLIC
from empirical.studies.ledger.theory import THEORY
from empirical.studies.ledger.tokens import TOKENS

LEDGER: tuple[Entry, ...] = (*THEORY, *TOKENS, *DECODING, *PUBLIC)
"""Every claim of the paper, with what is found here."""

__all__ = ["LEDGER", "Entry", "Evidence", "ModelEvidence", "Topic", "Verdict", "gather"]
