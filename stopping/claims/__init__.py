"""The registry of claims: it drives `stopping verify`, the tests and the book."""

from stopping.claims import deterministic, games, stochastic
from stopping.claims.claim import Claim, Finding, Twin, check, count_blocks, draws_of

CLAIMS: tuple[Claim, ...] = (*deterministic.CLAIMS, *games.CLAIMS, *stochastic.CLAIMS)

__all__ = ["CLAIMS", "Claim", "Finding", "Twin", "check", "count_blocks", "draws_of"]
