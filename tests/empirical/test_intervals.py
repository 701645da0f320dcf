"""Intervals over prompts cover the truth; a bootstrap over tokens does not."""

import math

import numpy as np
import pytest

from empirical.intervals import Ratio, bonferroni, mean, prompt_intervals
from stopping.errors import UserError
from stopping.support.statistics import clopper_pearson

pytestmark = pytest.mark.numerical

PROMPTS, TOKENS = 50, 6


def coverage(unit: str, simulations: int) -> tuple[int, int]:
    """How often an interval covers the true mean 0 of tokens that share a prompt's effect."""
    rng = np.random.default_rng(5)
    prompt = np.repeat(np.arange(PROMPTS), TOKENS)
    clusters = prompt if unit == "prompt" else np.arange(len(prompt))
    hits = 0
    for simulation in range(simulations):
        values = rng.normal(size=PROMPTS)[prompt] + rng.normal(size=len(prompt))
        found = prompt_intervals({"m": mean(values)}, clusters, simulation, 400)["m"]
        hits += 0.0 in found
    return hits, simulations


def test_intervals_over_prompts_cover_at_the_nominal_rate() -> None:
    covered = clopper_pearson(*coverage("prompt", 400), level=0.999)
    assert 0.95 in covered, covered


@pytest.mark.slow
def test_negative_control_a_bootstrap_over_tokens_covers_too_rarely() -> None:
    # The variance of the mean is 1/50 + 1/300, the naive one 2/300: about 70 % coverage.
    covered = clopper_pearson(*coverage("token", 150), level=0.999)
    assert covered.high < 0.95, covered


def test_means_of_subsets_and_ratios() -> None:
    found = prompt_intervals(
        {
            "all": mean([1.0, 2.0, 3.0, 6.0]),
            "some": mean([1.0, 2.0, 3.0, 6.0], [True, False, True, False]),
            "ratio": Ratio(np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 2.0, 1.0, 1.0])),
        },
        [0, 0, 1, 1],
        seed=0,
        replicates=200,
    )
    assert found["all"].estimate == 3.0
    assert (found["all"].low, found["all"].high) == (1.5, 4.5)  # both ends are one prompt twice
    assert found["some"].estimate == 2.0
    assert found["ratio"].estimate == 2.0


def test_no_interval_without_two_prompts_behind_it() -> None:
    found = prompt_intervals(
        {"one": mean([1.0, 2.0, 9.0], [True, True, False]), "none": mean([1.0] * 3, [False] * 3)},
        [0, 0, 1],
        seed=0,
        replicates=200,
    )
    assert found["one"].estimate == 1.5
    assert math.isnan(found["one"].low)
    assert math.isnan(found["none"].estimate)
    with pytest.raises(UserError, match="at least two"):
        prompt_intervals({"m": mean([1.0, 2.0])}, [3, 3], 0, 200)


def test_adjusted_intervals_are_wider_and_independent_of_company() -> None:
    values = np.random.default_rng(0).normal(size=200)
    prompt = np.repeat(np.arange(40), 5)
    plain = prompt_intervals({"m": mean(values)}, prompt, 3, 1000)["m"]
    both = prompt_intervals(
        {"other": mean(values**2), "m": mean(values), "wide": mean(values, level=bonferroni(5))},
        prompt,
        3,
        1000,
    )
    # The same resamples; a product of other shape may round its sums differently.
    assert (both["m"].low, both["m"].high) == pytest.approx((plain.low, plain.high), rel=1e-12)
    assert both["wide"].level == pytest.approx(0.99)
    assert both["wide"].low < plain.low < plain.high < both["wide"].high
