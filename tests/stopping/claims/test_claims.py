"""Claims hold, negative controls are rejected, findings do not depend on workers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from stopping.claims import CLAIMS, Claim, Control, Finding, check, spending, tally
from stopping.simulation.montecarlo import Moments, Relation, Verdict, block_moments
from stopping.support.parallel import Workers


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    return {finding.name: finding for finding in check(CLAIMS, seed=11, effort=0.15)}


@pytest.mark.slow
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_claim_holds_and_its_control_is_rejected(
    claim: Claim, findings: dict[str, Finding]
) -> None:
    finding = findings[claim.name]
    assert finding.verdict is Verdict.HOLDS, finding
    assert finding.control_verdict is Verdict.VIOLATED, finding


def test_names_are_unique_and_begin_with_their_label() -> None:
    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names)
    assert all(claim.name.startswith(f"{claim.label}.") for claim in CLAIMS)


@pytest.mark.slow
def test_findings_do_not_depend_on_the_number_of_workers() -> None:
    some = tuple(replace(claim, draws=40_000) for claim in CLAIMS if claim.label in ("T2", "T11"))
    assert check(some, seed=5) == check(some, seed=5, workers=Workers(2))
    assert check(some, seed=5) != check(some, seed=6)


@pytest.mark.slow
def test_a_tight_bound_that_is_not_attained_is_not_confirmed() -> None:
    """A world that never comes near the bound proves nothing: the verdict stays open."""
    claim = next(claim for claim in CLAIMS if claim.name == "T2.excess")
    lazy = replace(claim, bound=4.0, attained=3.9, draws=20_000)
    assert check((lazy,), seed=0)[0].verdict is Verdict.UNDECIDED


def test_progress_counts_every_part() -> None:
    some = tuple(claim for claim in CLAIMS if claim.label in ("T1", "T11"))
    begun: list[int] = []
    done: list[int] = []
    check(some, seed=0, effort=0.3, begin=begun.append, advance=done.append)
    assert len(begun) > 1
    assert sum(done) == sum(begun)


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal(n)


def shifted(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal(n) + 0.5


EQUALITY = Claim(
    "T0.mean",
    "a standard normal number has mean 0",
    Relation.MEAN_EQUALS,
    0.0,
    normal,
    Control("shifted by a half", shifted),
    tolerance=0.1,
    draws=400,
)


def test_an_undecided_equality_is_drawn_until_it_is_decided() -> None:
    """At one look about half of the seeds leave it open; the interval is as wide as the margin."""
    once = [check((EQUALITY,), seed=seed, looks=1)[0] for seed in range(20)]
    findings = [check((EQUALITY,), seed=seed)[0] for seed in range(20)]
    assert any(finding.undecided for finding in once)
    assert all(finding.sound for finding in findings)
    assert {finding.estimate.n for finding in findings} <= {400 << k for k in range(6)}


def test_the_draws_of_a_look_go_on_where_the_one_before_ended() -> None:
    claim = replace(EQUALITY, tolerance=0.0, draws=100, block=64)
    found = check((claim,), seed=3, looks=3)[0].estimate
    total = Moments()
    for block, size in enumerate((64, 36, 64, 36, 64, 64, 64, 8)):
        total += block_moments(normal, claim.name, 3, block, size, claim.bound)
    assert (found.n, found.mean) == (400, pytest.approx(total.mean, rel=1e-12))


@pytest.mark.slow
@pytest.mark.parametrize("relation", [Relation.MEAN_EQUALS, Relation.MEAN_AT_MOST])
def test_looking_again_does_not_raise_the_error(relation: Relation) -> None:
    """The bound is the mean itself: any verdict of "violated" is an error, its chance 10 % at most.

    The number of errors is binomial; it exceeds the limit with probability 1e-6.
    """
    claim = replace(EQUALITY, relation=relation, tolerance=0.0, draws=128)
    runs = 200
    wrong = sum(
        check((claim,), seed=seed, error=0.2)[0].verdict is Verdict.VIOLATED for seed in range(runs)
    )
    assert wrong <= stats.binom.isf(1e-6, runs, 0.1)
    assert sum(spending(0.2, 6)) == pytest.approx(0.2)


def test_a_false_claim_is_violated_and_its_error_is_not_spent_by_waiting() -> None:
    false = replace(EQUALITY, draw=shifted, control=Control("none", normal))
    finding = check((false,), seed=0)[0]
    assert finding.verdict is Verdict.VIOLATED
    assert finding.control_verdict is Verdict.HOLDS
    assert not finding.undecided


def test_the_tally_tells_what_was_drawn_too_little_from_what_is_wrong() -> None:
    true = check((EQUALITY,), seed=0)[0]
    open_ = replace(true, name="T0.open", verdict=Verdict.UNDECIDED)
    wrong = replace(true, name="T0.wrong", verdict=Verdict.VIOLATED)
    blind = replace(true, name="T0.blind", control_verdict=Verdict.HOLDS)
    controls = "with their negative controls rejected"
    assert tally((true,)) == f"All 1 claims hold, {controls}."
    assert tally((true, open_)) == (
        f"1 of 2 claims hold, {controls}; 1 undecided after up to {true.estimate.n:,} draws "
        "(T0.open); none violated."
    )
    assert tally((wrong, blind)) == (
        f"0 of 2 claims hold, {controls}; 1 violated (T0.wrong); "
        "1 whose negative control passes (T0.blind)."
    )
    # Wrong in one way is not undecided in another.
    both = replace(wrong, name="T0.both", control_verdict=Verdict.UNDECIDED)
    assert "undecided" not in tally((both,))


@pytest.mark.parametrize(("looks", "effort"), [(1, 1.0), (3, 1.0), (3, 4.0)])
def test_the_tally_states_the_draws_of_the_looks_used(looks: int, effort: float) -> None:
    equal = replace(EQUALITY, tolerance=1e-9, draws=64, control=Control("none", normal))
    found = check((equal,), seed=0, effort=effort, looks=looks)
    # The claim itself, and a control that is the same check and gets no more than at effort 1.
    assert found[0].open_draws == tuple(round(64 * e * 2 ** (looks - 1)) for e in (effort, 1.0))
    assert f"after up to {found[0].open_draws[0]:,} draws" in tally(found)


@pytest.mark.parametrize(("value", "said"), [(1.99999, "1.99999"), (1.5, "1.5"), (2.5, "2.5")])
def test_rounding_does_not_lift_a_draw_to_a_bound_that_it_lies_below(
    value: float, said: str
) -> None:
    claim = next(claim for claim in CLAIMS if claim.name == "T2.realised")
    (finding,) = check((replace(claim, draws=100),), effort=0.01, looks=1)
    near = replace(
        finding,
        relation=Relation.ALWAYS_BELOW,
        bound=2.0,
        estimate=replace(finding.estimate, greatest=value),
    )
    assert near.found == f"max {said}"
    loose = replace(near, relation=Relation.ALWAYS_AT_MOST)
    assert loose.found == f"max {value:.4g}"
    # The next processor rounds otherwise.
    tiny = replace(near, estimate=replace(finding.estimate, greatest=2e-16))
    assert tiny.found == "max below 1e-12"
