"""Intervals: exact where they claim to be, and of the right width for dependent tokens."""

import numpy as np
import pytest
from scipy import stats

from stopping.errors import UserError
from stopping.support.statistics import Interval, clopper_pearson, cluster_bootstrap

pytestmark = pytest.mark.numerical


def test_clopper_pearson_agrees_with_scipy() -> None:
    for successes, n in ((0, 10), (3, 10), (10, 10), (50, 1000)):
        ours = clopper_pearson(successes, n, 0.95)
        theirs = stats.binomtest(successes, n).proportion_ci(0.95, method="exact")
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    with pytest.raises(UserError, match="successes"):
        clopper_pearson(3, 2)


def test_interval_membership() -> None:
    interval = Interval(0.5, 0.2, 0.8)
    assert 0.2 in interval
    assert 0.9 not in interval
    assert interval.excludes_zero
    assert not Interval(0.0, -1.0, 1.0).excludes_zero


def clustered(rng: np.random.Generator, prompts: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Tokens whose mean is 0, with a strong effect of the prompt."""
    sizes = rng.integers(5, 40, prompts)
    labels = np.repeat(np.arange(prompts), sizes)
    values = np.repeat(rng.standard_normal(prompts), sizes) + 0.2 * rng.standard_normal(len(labels))
    return values[:, None], labels


def coverage(by_token: bool, runs: int = 200) -> float:
    covered = 0
    for seed in range(runs):
        values, labels = clustered(np.random.default_rng(seed))
        units = np.arange(len(labels)) if by_token else labels
        found = cluster_bootstrap(values, units, np.random.default_rng(seed), replicates=300)
        covered += 0.0 in found.interval(0)
    return covered / runs


@pytest.mark.slow
def test_the_bootstrap_over_prompts_covers_and_one_over_tokens_does_not() -> None:
    # binomial error of 200 runs is 0.015; percentile intervals on 40 clusters run a little short
    assert coverage(by_token=False) >= 0.88
    assert coverage(by_token=True) < 0.6


def test_differences_are_paired_and_ratios_are_means_over_subsets() -> None:
    rng = np.random.default_rng(3)
    values, labels = clustered(rng)
    inside = (rng.random(len(labels)) < 0.3).astype(float)
    table = np.column_stack([values[:, 0], values[:, 0] + 0.1, values[:, 0] * inside, inside])
    found = cluster_bootstrap(table, labels, rng)
    gap = found.difference(1, 0)
    assert gap.estimate == pytest.approx(0.1)
    assert gap.high - gap.low < 1e-12
    assert found.ratio(2, 3).estimate == pytest.approx(values[inside == 1, 0].mean())


def test_the_same_seed_gives_the_same_interval() -> None:
    values, labels = clustered(np.random.default_rng(0))
    first, again = (
        cluster_bootstrap(values, labels, np.random.default_rng(1)).interval(0) for _ in range(2)
    )
    assert first == again


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [
        (np.zeros((3, 1)), np.zeros(3), "at least two"),
        (np.zeros((3, 1)), np.zeros(2), "need"),
        (np.zeros(3), np.arange(3), "need"),
    ],
)
def test_bad_input_says_why(values: np.ndarray, clusters: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        cluster_bootstrap(values, clusters, np.random.default_rng(0))
