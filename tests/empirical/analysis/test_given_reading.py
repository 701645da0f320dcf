"""C2 on traces whose truth is known: kappa is found where A0 sees nothing, and not invented."""

import math

import numpy as np
import pytest

from empirical.analysis.audit import Status, audit
from empirical.analysis.audit.given_reading import GivenReading, audit_given_reading
from empirical.traces.files import Traces
from empirical.traces.window import take_sample
from stopping.types import FloatArray
from tests.empirical.synthetic import traces_from, with_mode

K = 3
MATERIAL = 0.05


def traces(x: FloatArray, gap: FloatArray, prompts: int) -> Traces:
    n = len(x)
    prompt = np.arange(n) * prompts // n
    return traces_from(x, -(x + gap), np.zeros(x.shape), np.zeros(n), prompt)


def ask(given: Traces, seed: int = 0) -> GivenReading:
    return audit_given_reading(take_sample(given, K, seed, 100), MATERIAL)


def entropies(seed: int, n: int = 1200) -> FloatArray:
    return np.random.default_rng(seed).uniform(8.0, 10.0, (n, K + 1))


def test_a_gap_that_hangs_on_the_reading_is_found_though_A0_holds() -> None:
    """The layer before the last reads 2.2 or 3.8 and pays 3.8 or 2.2."""
    low = np.arange(1600) % 2 == 0
    x = np.tile([6.0, 5.0, 3.0, 3.0], (1600, 1))
    x[:, 2] = np.where(low, 2.2, 3.8)
    gap = np.zeros_like(x)
    gap[:, 2] = np.where(low, 1.6, -1.6)
    found = ask(traces(x, gap, 40))
    assert found.kappa.estimate == pytest.approx(1.6, abs=1e-5)
    assert found.at_most == pytest.approx(1.6, abs=1e-5)
    assert found.verdict.status is Status.FAILS
    # Where it reads 3.8 no rule that goes down takes it: one cell, one layer.
    assert [(cell.layer, round(cell.low, 4), cell.tokens) for cell in found.cells] == [
        (3, 2.2, 800)
    ]
    assert audit(traces(x, gap, 40), K, replicates=100).calibration.verdict.status is Status.HOLDS
    # The other way round it pays less than it reads, and no rule loses.
    assert ask(traces(x, -gap, 40)).verdict.status is Status.HOLDS


def test_what_all_layers_are_off_by_alike_cancels() -> None:
    x = entropies(0)
    assert ask(traces(x, np.full_like(x, 0.7), 40)).verdict.status is Status.HOLDS
    lower = np.where(np.arange(K + 1) < K, 0.7, 0.0) * np.ones_like(x)
    assert ask(traces(x, lower, 40)).verdict.status is Status.FAILS


def test_choosing_the_worst_cell_costs_nothing() -> None:
    """Pure noise between prompts: the cross-fitted kappa refutes at its level, the naive does not.

    The worst cell among all tokens, judged on the same tokens, lies above zero nearly always.
    """
    refuted = naive = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        noise = np.repeat(rng.normal(0, 0.5, (30, K + 1)), 40, axis=0)
        found = ask(traces(entropies(seed), noise + rng.normal(0, 1, noise.shape), 30), seed)
        refuted += found.kappa.low > 0
        worst = max(found.cells, key=lambda cell: cell.net_gap.estimate)
        naive += worst.net_gap.estimate > 0
        assert found.at_most > 0
    # 2.5 % on this side, more for the dependence of the halves; 60 draws exceed 7 once in 2,000.
    assert refuted <= 7
    assert naive >= 55


def test_a_true_kappa_lies_between_the_two_numbers() -> None:
    covered = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x = entropies(seed)
        gap = rng.normal(0, 1, x.shape)
        gap[:, 1] += np.where(x[:, 1] < 8.4, 0.6, 0.0)
        found = ask(traces(x, gap, 30), seed)
        # The bin of the lowest entropies is [8, 8.5] about: it holds nothing but this gap.
        covered += found.kappa.low <= 0.62 and found.at_most >= 0.55
        assert found.verdict.status is Status.FAILS
    assert covered >= 27


def test_too_few_prompts_settle_nothing() -> None:
    x = entropies(0, 60)
    found = ask(traces(x, np.zeros_like(x), 6))
    assert found.left_out == (1, 2, 3)
    assert math.isnan(found.at_most)
    assert found.verdict.status is Status.UNDECIDED
    assert "too few" in found.verdict.sentence


def test_a_final_layer_that_reads_least_leaves_nothing_to_lose() -> None:
    x = np.tile([3.0, 2.0, 1.5, 1.0], (100, 1))
    found = ask(traces(x, np.ones_like(x), 10))
    assert found.cells == ()
    assert found.at_most == 0.0
    assert found.verdict.status is Status.HOLDS


def test_own_text_cannot_judge_it() -> None:
    x = entropies(0)
    found = ask(with_mode(traces(x, np.ones_like(x), 30), "generated"))
    assert found.verdict.status is Status.UNDECIDED
    assert "greedy" in found.verdict.sentence
