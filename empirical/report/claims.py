"""The theory's claims on the page: checked, or taken from the stored check, and said in a line."""

import hashlib
from dataclasses import dataclass

from empirical.report.stored import Inputs, Store
from stopping.claims import CLAIMS, Finding, check
from stopping.montecarlo import Verdict
from stopping.parallel import Workers

KIND = "claims"
ERROR = 1e-3
"""Chance that any verdict of the table is wrong."""
USUAL = 1.0
"""Effort of `stopping verify`."""


@dataclass(frozen=True)
class Tally:
    """How many claims hold with their negative control rejected, are undecided, or are violated.

    A claim whose control passes the check has shown nothing, and counts as undecided unless the
    control is decided, too: then as violated.
    """

    hold: int
    undecided: int
    violated: int

    @property
    def total(self) -> int:
        """Number of claims."""
        return self.hold + self.undecided + self.violated


@dataclass(frozen=True)
class Checked:
    """What was found, at which effort (1: the usual draws), and whether it stood in a store."""

    findings: tuple[Finding, ...]
    effort: float
    stored: bool
    error: float = ERROR


def checked_claims(
    seed: int, effort: float, workers: Workers | None = None, store: Store | None = None
) -> Checked:
    """Take the check from `store`, of the usual draws or of more, or check the claims now."""
    for drawn in sorted({max(effort, USUAL), effort}, reverse=True):
        found = store and store.find(KIND, claims_inputs(seed, drawn), tuple[Finding, ...])
        if found:
            return Checked(found, drawn, True)
    found = check(CLAIMS, seed=seed, effort=effort, workers=workers, error=ERROR)
    return Checked(found, effort, False)


def claims_inputs(seed: int, effort: float) -> Inputs:
    """Everything on which the findings depend; bounds to the digits that a table shows."""
    registry = "\n".join(
        f"{c.name}|{c.statement}|{c.relation}|{c.bound:.9g}|{c.tolerance:.9g}|{c.attained}|"
        f"{c.draws}|{c.block}|{c.twin.what}|{c.twin.bound_factor:.9g}"
        for c in CLAIMS
    )
    return {
        "seed": seed,
        "effort": effort,
        "error": ERROR,
        "registry": hashlib.sha256(registry.encode()).hexdigest(),
    }


def tally(findings: tuple[Finding, ...]) -> Tally:
    """Count the findings."""
    hold = sum(finding.sound for finding in findings)
    violated = sum(
        finding.verdict is Verdict.VIOLATED or finding.twin_verdict is Verdict.HOLDS
        for finding in findings
    )
    return Tally(hold, len(findings) - hold - violated, violated)


def claims_sentence(findings: tuple[Finding, ...], effort: float) -> str:
    """Say how many claims hold, and how much was drawn where that did not settle all of them."""
    found = tally(findings)
    if found.hold == found.total:
        return f"All {found.total} claims hold, with their negative controls rejected."
    drawn = {0.25: "a quarter of the draws", USUAL: "the usual draws"}.get(
        effort, f"{effort:g} times the usual draws"
    )
    undecided = f"{found.undecided} undecided at {drawn}" if found.undecided else "none undecided"
    violated = f"{found.violated} violated" if found.violated else "none violated"
    return f"Of {found.total} claims {found.hold} hold, {undecided}, {violated}."
