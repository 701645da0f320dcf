"""A claim as data: what is said, of which quantity, and the broken twin that must be rejected.

One theorem label in the book = one pure function = one or more rows in the registry = tests that
can fail. The twin is the same check with one deliberate error (a bound 10 % too small where it is
tight, the rule off by one layer, an assumption dropped); a check that lets it pass proves nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from joblib import Parallel, delayed

from stopping.montecarlo import (
    Draw,
    Estimate,
    Moments,
    Relation,
    Verdict,
    block_moments,
    blocks,
    judge,
    summarise,
)

BLOCK = 1 << 14


@dataclass(frozen=True)
class Twin:
    """The deliberate error: another quantity, or a fraction of the bound, and what it is."""

    what: str
    draw: Draw | None = None
    bound_factor: float = 1.0


@dataclass(frozen=True)
class Claim:
    """A statement that Monte Carlo can reject.

    Attributes
    ----------
    label : str
        Theorem label, such as `T2`.
    name : str
        Unique name, such as `T2.regret`.
    statement : str
        The claim in one line.
    relation : Relation
    bound : float
    draw : callable
        Draws values of the quantity; picklable, so that workers can run it.
    twin : Twin
    tolerance : float
        For `MEAN_EQUALS`: what counts as equal.
    attained : float, optional
        Where the bound is tight: the largest draw must reach this value, or the check is void.
    draws : int
        Number of draws at the default setting; dear quantities take fewer.
    block : int
        Draws per block: the unit of memory, of streams and of parallel work.
    """

    label: str
    name: str
    statement: str
    relation: Relation
    bound: float
    draw: Draw
    twin: Twin
    tolerance: float = 0.0
    attained: float | None = None
    draws: int = 1 << 18
    block: int = BLOCK


@dataclass(frozen=True)
class Finding:
    """What `check` found of a claim and of its twin."""

    label: str
    name: str
    statement: str
    relation: Relation
    bound: float
    verdict: Verdict
    estimate: Estimate
    twin: str
    twin_bound: float
    twin_verdict: Verdict
    twin_estimate: Estimate

    @property
    def sound(self) -> bool:
        """The claim holds and the check rejects the twin."""
        return self.verdict is Verdict.HOLDS and self.twin_verdict is Verdict.VIOLATED


def check(
    claims: tuple[Claim, ...],
    *,
    seed: int = 0,
    effort: float = 1.0,
    jobs: int = 1,
    error: float = 1e-3,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[Finding, ...]:
    """Check claims and twins by Monte Carlo.

    Parameters
    ----------
    claims : tuple of Claim
    seed : int
        Streams are keyed by it; the findings do not depend on `jobs`.
    effort : float
        Multiplies every claim's number of draws.
    jobs : int
        Worker processes.
    error : float
        Chance that any of the verdicts is wrong, shared evenly among claims and twins
        (Bonferroni), as far as the central limit theorem goes.
    advance : callable
        Called with the number of blocks done since the last call.
    """
    level = 1.0 - error / max(1, 2 * len(claims))
    work = [
        partial(
            block_moments,
            draw,
            claim.name,
            seed,
            index,
            size,
            bound,
            claim.relation is Relation.ALWAYS_BELOW,
        )
        for claim in claims
        for draw, bound in _sides(claim)
        for index, size in blocks(draws_of(claim, effort), claim.block)
    ]
    moments: list[Moments] = []
    for result in Parallel(n_jobs=jobs, return_as="generator")(delayed(job)() for job in work):
        moments.append(result)
        advance(1)
    done = iter(moments)
    return tuple(_finding(claim, _merge(claim, effort, done, level, seed)) for claim in claims)


def draws_of(claim: Claim, effort: float) -> int:
    """Number of draws of `claim` at `effort`."""
    return max(2, round(claim.draws * effort))


def count_blocks(claims: tuple[Claim, ...], effort: float) -> int:
    """Units of work in `check`, for a progress bar."""
    return sum(2 * -(-draws_of(claim, effort) // claim.block) for claim in claims)


def _sides(claim: Claim) -> tuple[tuple[Draw, float], tuple[Draw, float]]:
    """Return the quantity and bound of the claim, then those of its twin."""
    twin = claim.twin
    return (claim.draw, claim.bound), (twin.draw or claim.draw, claim.bound * twin.bound_factor)


def _merge(
    claim: Claim, effort: float, done: Iterator[Moments], level: float, seed: int
) -> tuple[Estimate, Estimate]:
    estimates = []
    for _ in _sides(claim):
        total = Moments()
        for _ in blocks(draws_of(claim, effort), claim.block):
            total += next(done)
        estimates.append(summarise(total, level, seed))
    return estimates[0], estimates[1]


def _finding(claim: Claim, estimates: tuple[Estimate, Estimate]) -> Finding:
    found, twin_found = estimates
    verdict = judge(claim.relation, claim.bound, found, claim.tolerance)
    if verdict is Verdict.HOLDS and claim.attained is not None and found.greatest < claim.attained:
        verdict = Verdict.UNDECIDED
    twin_bound = claim.bound * claim.twin.bound_factor
    return Finding(
        label=claim.label,
        name=claim.name,
        statement=claim.statement,
        relation=claim.relation,
        bound=claim.bound,
        verdict=verdict,
        estimate=found,
        twin=claim.twin.what,
        twin_bound=twin_bound,
        twin_verdict=judge(claim.relation, twin_bound, twin_found, claim.tolerance),
        twin_estimate=twin_found,
    )
