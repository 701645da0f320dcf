"""The engine: merging is exact, streams are independent of the order of work, verdicts decide."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopping.errors import UserError
from stopping.simulation.montecarlo import (
    Estimate,
    Moments,
    Relation,
    Verdict,
    block_moments,
    blocks,
    estimate,
    judge,
    stream,
    summarise,
)


def uniform(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.random(n)


def bernoulli(rng: np.random.Generator, n: int) -> np.ndarray:
    return (rng.random(n) < 0.3).astype(float)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.integers(1, 8), st.booleans())
def test_merged_moments_are_those_of_the_whole(
    values: list[float], block: int, strict: bool
) -> None:
    whole = np.array(values)
    total = Moments()
    start = 0
    for _, size in blocks(len(whole), block):
        total += Moments.of(whole[start : start + size], 1.0, strict)
        start += size
    assert total.n == len(whole)
    assert total.mean == pytest.approx(whole.mean(), abs=1e-9)
    assert total.squares == pytest.approx(((whole - whole.mean()) ** 2).sum(), abs=1e-5)
    assert (total.least, total.greatest) == (whole.min(), whole.max())
    assert total.breaking == ((whole >= 1.0) if strict else (whole > 1.0)).sum()


def test_streams_are_keyed_by_seed_name_and_block() -> None:
    draws = {
        key: stream(*key).random() for key in ((0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1))
    }
    assert len(set(draws.values())) == 4
    assert stream(0, "a", 0).random() == draws[(0, "a", 0)]


def test_estimate_covers_the_truth_and_is_reproducible() -> None:
    found = estimate(uniform, 100_000, seed=3, name="uniform")
    assert found == estimate(uniform, 100_000, seed=3, name="uniform")
    assert found.low < 0.5 < found.high
    assert found.stderr == pytest.approx(math.sqrt(1 / 12 / 100_000), rel=0.02)
    exact = estimate(bernoulli, 10_000, seed=3)
    assert exact.low < 0.3 < exact.high


def test_intervals_cover_at_their_level() -> None:
    """At level 0.9 about nine in ten intervals cover; 300 runs have a binomial error of 0.017."""
    for draw, truth in ((uniform, 0.5), (bernoulli, 0.3)):
        runs = [estimate(draw, 500, seed=seed, level=0.9) for seed in range(300)]
        covered = np.mean([found.low <= truth <= found.high for found in runs])
        assert 0.9 - 4 * 0.0174 <= covered <= 0.9 + 5 * 0.0174


def test_a_value_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(UserError, match="not finite"):
        block_moments(lambda _, n: np.full(n, np.nan), "nan", 0, 0, 4, 1.0)
    with pytest.raises(UserError, match="two draws"):
        summarise(Moments.of(np.array([1.0]), 1.0, False), 0.9, 0)


def found(low: float, high: float, breaking: int = 0) -> Estimate:
    return Estimate((low + high) / 2, 0.1, low, high, high, breaking, 100, 0.99, 0)


@pytest.mark.parametrize(
    ("relation", "low", "high", "breaking", "tolerance", "verdict"),
    [
        (Relation.MEAN_AT_MOST, 0.8, 0.9, 0, 0.0, Verdict.HOLDS),
        (Relation.MEAN_AT_MOST, 0.9, 1.1, 0, 0.0, Verdict.UNDECIDED),
        (Relation.MEAN_AT_MOST, 1.1, 1.2, 0, 0.0, Verdict.VIOLATED),
        (Relation.MEAN_EQUALS, 0.95, 1.05, 0, 0.1, Verdict.HOLDS),
        (Relation.MEAN_EQUALS, 0.85, 1.05, 0, 0.1, Verdict.UNDECIDED),
        (Relation.MEAN_EQUALS, 0.7, 0.85, 0, 0.1, Verdict.VIOLATED),
        (Relation.ALWAYS_AT_MOST, 0.5, 0.6, 0, 0.0, Verdict.HOLDS),
        (Relation.ALWAYS_AT_MOST, 0.5, 0.6, 1, 0.0, Verdict.VIOLATED),
        (Relation.ALWAYS_BELOW, 0.5, 0.6, 1, 0.0, Verdict.VIOLATED),
    ],
)
def test_judge(
    relation: Relation, low: float, high: float, breaking: int, tolerance: float, verdict: Verdict
) -> None:
    assert judge(relation, 1.0, found(low, high, breaking), tolerance) is verdict
