"""The registry of claims: it drives `stopping verify`, the tests and the book."""

from stopping.claims import deterministic, exact_law, games, optimal, stochastic
from stopping.claims.claim import Claim, Finding, Twin, check, count_parts, draws_of

CLAIMS: tuple[Claim, ...] = (
    *deterministic.CLAIMS,
    *games.CLAIMS,
    *stochastic.CLAIMS,
    *exact_law.CLAIMS,
    *optimal.CLAIMS,
)

__all__ = ["CLAIMS", "Claim", "Finding", "Twin", "check", "count_parts", "draws_of"]
