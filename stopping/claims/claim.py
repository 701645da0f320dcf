"""A claim as data: what is said, of which quantity, and the broken twin that must be rejected.

One theorem label in the book = one pure function = one or more rows in the registry = tests that
can fail. The twin is the same check with one deliberate error (a bound 10 % too small where it is
tight, the rule off by one layer, an assumption dropped); a check that lets it pass proves nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from stopping.journal import Journal, sweep
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
from stopping.parallel import Workers

BLOCK = 1 << 14
PART = 16
"""Blocks to a part, the unit of work that is shared out among workers and kept in a journal."""


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
        Draws per block: the unit of memory and of streams.
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
    workers: Workers | None = None,
    journal: Journal | None = None,
    error: float = 1e-3,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[Finding, ...]:
    """Check claims and twins by Monte Carlo.

    Parameters
    ----------
    claims : tuple of Claim
    seed : int
        Streams are keyed by it; the findings do not depend on `workers`.
    effort : float
        Multiplies every claim's number of draws. A twin gets no more than at effort 1: it has to
        be rejected, and further draws say nothing more about that.
    workers : Workers, optional
        Default: this process.
    journal : Journal, optional
        Where finished parts are kept, made with the settings `{"seed": seed}` at least.
    error : float
        Chance that any of the verdicts is wrong, shared evenly among claims and twins
        (Bonferroni), as far as the central limit theorem goes.
    advance : callable
        Called with the number of parts done since the last call.
    """
    level = 1.0 - error / max(1, 2 * len(claims))
    parts = {
        name: job
        for claim in claims
        for side in _sides(claim)
        for name, job in _parts(claim, side, effort, seed)
    }
    done = iter(sweep(parts, Moments, workers=workers, journal=journal, advance=advance).values())
    return tuple(_finding(claim, _merge(claim, effort, done, level, seed)) for claim in claims)


def draws_of(claim: Claim, effort: float, twin: bool = False) -> int:
    """Number of draws of `claim`, or of its twin, at `effort`."""
    return max(2, round(claim.draws * (min(effort, 1.0) if twin else effort)))


def count_parts(claims: tuple[Claim, ...], effort: float) -> int:
    """Units of work in `check`, for a progress bar."""
    return sum(
        -(-draws_of(claim, effort, side.twin) // (claim.block * PART))
        for claim in claims
        for side in _sides(claim)
    )


@dataclass(frozen=True)
class _Side:
    """The claim itself or its twin: what is drawn, and the bound that it is held against."""

    draw: Draw
    bound: float
    twin: bool


def _sides(claim: Claim) -> tuple[_Side, _Side]:
    twin = claim.twin
    return (
        _Side(claim.draw, claim.bound, False),
        _Side(twin.draw or claim.draw, claim.bound * twin.bound_factor, True),
    )


def _parts(
    claim: Claim, side: _Side, effort: float, seed: int
) -> Iterator[tuple[str, Callable[[], Moments]]]:
    """Jobs of one side, each with a name that tells it from all others of the same seed."""
    what = f"{claim.name} twin" if side.twin else claim.name
    strict = claim.relation is Relation.ALWAYS_BELOW
    whole = list(blocks(draws_of(claim, effort, side.twin), claim.block))
    for part in (whole[i : i + PART] for i in range(0, len(whole), PART)):
        first, draws = part[0][0], sum(size for _, size in part)
        name = f"{what}, {draws} draws from block {first}"
        yield name, partial(_moments, side.draw, claim.name, seed, part, side.bound, strict)


def _moments(
    draw: Draw,
    name: str,
    seed: int,
    part: Sequence[tuple[int, int]],
    bound: float,
    strict: bool,
) -> Moments:
    """Draw the blocks of a part and merge their moments in order."""
    total = Moments()
    for index, size in part:
        total += block_moments(draw, name, seed, index, size, bound, strict)
    return total


def _merge(
    claim: Claim, effort: float, done: Iterator[Moments], level: float, seed: int
) -> tuple[Estimate, Estimate]:
    estimates = []
    for side in _sides(claim):
        total = Moments()
        for _ in _parts(claim, side, effort, seed):
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
