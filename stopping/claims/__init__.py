"""The registry of claims: it drives `stopping verify`, the tests and the book."""

from stopping.claims import (
    budget,
    deterministic,
    exact_distribution,
    games,
    mixtures,
    optimal,
    stochastic,
    weaker,
)
from stopping.claims.claim import LOOKS, VERSION, Claim, Control, check, spending
from stopping.claims.finding import Finding, Findings, tally
from stopping.claims.theorems import THEOREMS, Status, Theorem

CLAIMS: tuple[Claim, ...] = (
    *deterministic.CLAIMS,
    *games.CLAIMS,
    *stochastic.CLAIMS,
    *exact_distribution.CLAIMS,
    *weaker.CLAIMS,
    *budget.CLAIMS,
    *mixtures.CLAIMS,
    *optimal.CLAIMS,
)
"""Every claim of the book, in the order of its pages."""

__all__ = [
    "CLAIMS",
    "LOOKS",
    "THEOREMS",
    "VERSION",
    "Claim",
    "Control",
    "Finding",
    "Findings",
    "Status",
    "Theorem",
    "check",
    "spending",
    "tally",
]
