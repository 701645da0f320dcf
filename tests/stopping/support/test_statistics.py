"""Intervals: exact where they claim to be, and of the right width for dependent tokens."""

import numpy as np
import pytest
from scipy import stats

from stopping.errors import UserError
from stopping.support.statistics import (
    Interval,
    clopper_pearson,
    cluster_bootstrap,
    cluster_share,
    clusters_needed,
    gaffke_ratio,
    student_ratio,
)

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
        found = cluster_bootstrap(values, units, seed, replicates=300)
        covered += 0.0 in found.interval(0)
    return covered / runs


@pytest.mark.slow
def test_the_bootstrap_over_prompts_covers_and_one_over_tokens_does_not() -> None:
    # binomial error of 200 runs is 0.015; percentile intervals on 40 clusters run a little short
    assert coverage(by_token=False) >= 0.88
    assert coverage(by_token=True, runs=50) < 0.6


def test_differences_are_paired_and_ratios_are_means_over_subsets() -> None:
    rng = np.random.default_rng(3)
    values, labels = clustered(rng)
    inside = (rng.random(len(labels)) < 0.3).astype(float)
    table = np.column_stack([values[:, 0], values[:, 0] + 0.1, values[:, 0] * inside, inside])
    found = cluster_bootstrap(table, labels, 3)
    gap = found.difference(1, 0)
    assert gap.estimate == pytest.approx(0.1)
    assert gap.high - gap.low < 1e-12
    assert found.ratio(2, 3).estimate == pytest.approx(values[inside == 1, 0].mean())


def test_the_same_seed_gives_the_same_interval() -> None:
    values, labels = clustered(np.random.default_rng(0))
    # Other seeds come between, more of them than are kept.
    first, *others, again = (
        cluster_bootstrap(values, labels, seed).interval(0) for seed in (1, 2, 3, 4, 5, 6, 1)
    )
    assert first == again
    assert len({first, *others}) == 6


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
        cluster_bootstrap(values, clusters, 0)


def test_students_interval_of_a_ratio_by_hand() -> None:
    values = np.array([1.0, 2.0, 6.0])
    found, classical = student_ratio(values, np.ones(3)), stats.ttest_1samp(values, 0.0)
    ends = classical.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert student_ratio(2 * values, np.full(3, 2.0)) == pytest.approx(found)
    assert np.isnan(student_ratio([1.0, 0.0], [2.0, 0.0]).high)
    assert np.isnan(student_ratio([0.0], [0.0]).estimate)
    with pytest.raises(UserError, match="need one of each"):
        student_ratio([1.0], [1.0, 2.0])


def test_the_share_of_clusters_that_break_wholly_is_clopper_and_pearsons() -> None:
    for broken, n in ((0, 40), (3, 40), (12, 20)):
        sums = 10.0 * (np.arange(n) < broken)
        ours, theirs = cluster_share(sums, np.full(n, 10)), clopper_pearson(broken, n, 0.9)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.012)
    needed = clusters_needed(0.05)
    assert needed == 59
    assert clopper_pearson(0, needed, 0.9).high <= 0.05 < clopper_pearson(0, needed - 1, 0.9).high


def too_sure(method: str, runs: int = 300, prompts: int = 60) -> float:
    """How often a share of 5 %, in few prompts, is said to be less."""
    times = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        inside = rng.binomial(40, rng.beta(0.05, 0.95, prompts))
        asked = np.full(prompts, 40)
        if method == "share":
            high = cluster_share(inside, asked, seed).high
        else:
            high = student_ratio(inside, asked).high
        times += high <= 0.05
    return times / runs


@pytest.mark.slow
def test_a_share_in_few_prompts_is_seldom_said_to_be_less_and_students_interval_says_it() -> None:
    # 25 of 300 have a probability of 0.007 at 5 %.
    assert too_sure("share") <= 25 / 300
    # Negative control, at a nominal 2.5 %.
    assert too_sure("student") > 25 / 300


def test_a_cluster_that_was_not_seen_may_reach_the_bounds() -> None:
    sums, sizes = np.array([1.0, 2.0, 0.0]), np.full(3, 5.0)
    narrow, wide = (gaffke_ratio(sums, sizes, -b, b) for b in (0.5, 1.0))
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high
    assert narrow.estimate == pytest.approx(0.2)
    assert np.isnan(gaffke_ratio([], [], -1.0, 1.0).low)
