"""A claim as data: what is said, of which quantity, and the negative control that must be rejected.

One theorem label in the book = one pure function = one or more rows in the registry = tests that
can fail. The negative control is the same check with one deliberate error (a bound 10% too small
where it is tight, the rule off by one layer, an assumption dropped); a check that lets it pass
proves nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from stopping.claims.finding import Finding, Findings
from stopping.simulation.montecarlo import (
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
from stopping.support.parallel import Workers
from stopping.support.store import Journal, sweep

BLOCK = 1 << 14
PART = 16
"""Blocks to a part, the unit of work that is shared out among workers and kept in a journal."""

LOOKS = 6
"""How often an undecided check is looked at: at most 32 times the draws of the first look."""

VERSION = 3
"""Raised whenever the same claims, settings and looks give other findings than before."""


@dataclass(frozen=True)
class Control:
    """The deliberate error: another quantity, or a fraction of the bound, and what it is."""

    what: str
    draw: Draw | None = None
    bound_factor: float = 1.0


@dataclass(frozen=True)
class Claim:
    """A statement that Monte Carlo can reject.

    Attributes
    ----------
    name : str
        Unique name, such as `T2.excess`: the theorem's label, and what of it.
    statement : str
        The claim in one line.
    relation : Relation
    bound : float
    draw : callable
        Draws values of the quantity; picklable, so that workers can run it.
    control : Control
    tolerance : float
        For `MEAN_EQUALS`: what counts as equal.
    attained : float, optional
        Where the bound is tight: the largest draw must reach this value, or the check is void.
    draws : int
        Number of draws at the default setting; expensive quantities take fewer.
    block : int
        Draws per block: the unit of memory and of streams.
    """

    name: str
    statement: str
    relation: Relation
    bound: float
    draw: Draw
    control: Control
    tolerance: float = 0.0
    attained: float | None = None
    draws: int = 1 << 18
    block: int = BLOCK
    tex: str = ""

    @property
    def label(self) -> str:
        """Theorem label, such as `T2`."""
        return self.name.partition(".")[0]

    @property
    def printed(self) -> str:
        """The statement as pages print it."""
        return self.tex or self.statement


def check(
    claims: tuple[Claim, ...],
    *,
    seed: int = 0,
    effort: float = 1.0,
    workers: Workers | None = None,
    journal: Journal | None = None,
    error: float = 1e-3,
    looks: int = LOOKS,
    begin: Callable[[int], object] = lambda _: None,
    advance: Callable[[int], object] = lambda _: None,
) -> Findings:
    """Check claims and negative controls by Monte Carlo, and draw on where nothing is decided.

    Each look doubles the draws of what is still undecided. The error is spent over the looks (see
    `spending`), so that looking again does not raise it.

    Parameters
    ----------
    claims : tuple of Claim
    seed : int
        Streams are keyed by it; the findings do not depend on `workers`.
    effort : float
        Multiplies every claim's number of draws at the first look. A negative control gets no more
        than at effort 1: it has to be rejected, and further draws say nothing more about that.
    workers : Workers, optional
        Default: this process.
    journal : Journal, optional
        Where finished parts are kept, made with the settings `{"seed": seed}` at least.
    error : float
        Chance that any of the verdicts is wrong, shared evenly among claims and controls
        (Bonferroni) and then among the looks, as far as the central limit theorem goes.
    looks : int
        The budget: at most `2 ** (looks - 1)` times the draws of the first look.
    begin : callable
        Called with the number of parts of each look, before it.
    advance : callable
        Called with the number of parts done since the last call.
    """
    sides = [_Side(claim, control) for claim in claims for control in (False, True)]
    drawn = dict.fromkeys(sides, Moments())
    found: dict[_Side, tuple[Verdict, Estimate]] = {}
    undecided = sides
    for look, share in enumerate(spending(error / max(1, len(sides)), looks)):
        parts = {side: dict(_parts(side, look, effort, seed)) for side in undecided}
        work = {name: job for jobs in parts.values() for name, job in jobs.items()}
        begin(len(work))
        done = sweep(work, Moments, workers=workers, journal=journal, advance=advance)
        for side, jobs in parts.items():
            drawn[side] = sum((done[name] for name in jobs), drawn[side])
            estimate = summarise(drawn[side], 1.0 - share, seed)
            found[side] = side.judge(estimate), estimate
        undecided = [side for side in undecided if found[side][0] is Verdict.UNDECIDED]
        if not undecided:
            break
    return Findings(
        _finding(claim, found[_Side(claim, False)], found[_Side(claim, True)]) for claim in claims
    )


def spending(error: float, looks: int) -> tuple[float, ...]:
    """Return what each look may spend of `error`: half, a quarter, ..., and all that is left.

    Whatever the looks before have shown, one of them is wrong with probability `error` at most:
    the sum (Boole's inequality).
    """
    return tuple(error / 2 ** min(k, looks - 1) for k in range(1, looks + 1))


def draws_of(claim: Claim, effort: float, control: bool = False) -> int:
    """Draws of `claim`, or of its negative control, at the first look."""
    return max(2, round(claim.draws * (min(effort, 1.0) if control else effort)))


@dataclass(frozen=True)
class _Side:
    """A claim itself or its negative control: what is drawn, and what it is held against."""

    claim: Claim
    control: bool

    @property
    def name(self) -> str:
        return f"{self.claim.name} control" if self.control else self.claim.name

    @property
    def draw(self) -> Draw:
        return (self.claim.control.draw if self.control else None) or self.claim.draw

    @property
    def bound(self) -> float:
        return self.claim.bound * (self.claim.control.bound_factor if self.control else 1.0)

    def judge(self, found: Estimate) -> Verdict:
        claim = self.claim
        verdict = judge(claim.relation, self.bound, found, claim.tolerance)
        near = self.control or claim.attained is None or found.greatest >= claim.attained
        return verdict if near or verdict is not Verdict.HOLDS else Verdict.UNDECIDED


def _parts(
    side: _Side, look: int, effort: float, seed: int
) -> Iterator[tuple[str, Callable[[], Moments]]]:
    """Jobs of one look, each with a name that tells it from all others of the same seed."""
    claim = side.claim
    first = draws_of(claim, effort, side.control)
    # A look doubles all draws so far; its blocks go on where those of the look before ended.
    sizes = [first, *(first << k for k in range(look))]
    start = sum(-(-size // claim.block) for size in sizes[:-1])
    strict = claim.relation is Relation.ALWAYS_BELOW
    whole = [(start + index, size) for index, size in blocks(sizes[-1], claim.block)]
    for part in (whole[i : i + PART] for i in range(0, len(whole), PART)):
        draws = sum(size for _, size in part)
        name = f"{side.name}, {draws} draws from block {part[0][0]}"
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


def _finding(
    claim: Claim, found: tuple[Verdict, Estimate], control: tuple[Verdict, Estimate]
) -> Finding:
    return Finding(
        label=claim.label,
        name=claim.name,
        statement=claim.statement,
        relation=claim.relation,
        bound=claim.bound,
        verdict=found[0],
        estimate=found[1],
        control=claim.control.what,
        control_bound=_Side(claim, True).bound,
        control_verdict=control[0],
        control_estimate=control[1],
    )
