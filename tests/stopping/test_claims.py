"""Every claim holds, every broken twin is rejected, and the findings do not depend on workers."""

from dataclasses import replace

import pytest

from stopping.claims import CLAIMS, Claim, Finding, check
from stopping.montecarlo import Verdict
from stopping.parallel import Workers


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    return {finding.name: finding for finding in check(CLAIMS, seed=11, workers=Workers(2))}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_claim_holds_and_its_twin_is_rejected(
    claim: Claim, findings: dict[str, Finding]
) -> None:
    finding = findings[claim.name]
    assert finding.verdict is Verdict.HOLDS, finding
    assert finding.twin_verdict is Verdict.VIOLATED, finding


def test_names_are_unique_and_begin_with_their_label() -> None:
    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names)
    assert all(claim.name.startswith(f"{claim.label}.") for claim in CLAIMS)


def test_findings_do_not_depend_on_the_number_of_workers() -> None:
    some = tuple(replace(claim, draws=40_000) for claim in CLAIMS if claim.label in ("T2", "T11"))
    assert check(some, seed=5) == check(some, seed=5, workers=Workers(2))
    assert check(some, seed=5) != check(some, seed=6)


def test_a_tight_bound_that_is_not_attained_is_not_confirmed() -> None:
    """A world that never comes near the bound proves nothing: the verdict stays open."""
    claim = next(claim for claim in CLAIMS if claim.name == "T2.regret")
    lazy = replace(claim, bound=4.0, attained=3.9, draws=20_000)
    assert check((lazy,), seed=0)[0].verdict is Verdict.UNDECIDED


def test_progress_counts_every_part() -> None:
    from stopping.claims import count_parts

    some = CLAIMS[:2]
    done: list[int] = []
    check(some, seed=0, effort=0.3, advance=done.append)
    assert sum(done) == count_parts(some, 0.3)
