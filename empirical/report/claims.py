"""The theory's claims on the page: checked, or taken from the stored check."""

import hashlib
from dataclasses import dataclass

from empirical.report.stored import Inputs, Store
from stopping.claims import CLAIMS, LOOKS, VERSION, Finding, check
from stopping.support.parallel import Workers

KIND = "claims"
ERROR = 1e-3
"""Chance that any verdict of the table is wrong."""
USUAL = 1.0
"""Effort of `stopping verify`."""


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
    """Everything on which the findings depend; bounds to the digits that a table shows.

    Values under names of this file's own: what is renamed elsewhere leaves a stored check valid.
    """
    registry = "\n".join(
        f"{c.name}|{c.statement}|{c.relation}|{c.bound:.9g}|{c.tolerance:.9g}|{c.attained}|"
        f"{c.draws}|{c.block}|{c.control.what}|{c.control.bound_factor:.9g}"
        for c in CLAIMS
    )
    return {
        "seed": seed,
        "effort": effort,
        "error": ERROR,
        "looks": LOOKS,
        "version": VERSION,
        "registry": hashlib.sha256(registry.encode()).hexdigest(),
    }
