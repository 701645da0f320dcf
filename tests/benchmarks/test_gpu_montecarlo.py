"""The Monte Carlo step of the GPU list, rehearsed on the CPU."""

import numpy as np
import pytest
import torch

from benchmarks.gpu.montecarlo import NAMES, WORLD, depths, philox, tally
from stopping.rules import Guarded, Search, Tolerance, WindowMinimum
from stopping.simulation.engine import simulate


def test_philox_gives_the_published_numbers() -> None:
    """Known answers of the Random123 library: counter and key zero."""
    zero = torch.zeros(1, dtype=torch.int64)
    found = [int(word) for word in philox(zero, 0, 0)]
    assert found == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def test_counts_do_not_depend_on_the_launches() -> None:
    whole = tally(5000, 3, "cpu", 5000, depths)
    assert torch.equal(whole, tally(5000, 3, "cpu", 777, depths))
    assert not torch.equal(whole, tally(5000, 4, "cpu", 5000, depths))


def test_it_agrees_with_the_engine() -> None:
    rules = (Search(), Tolerance(0.1), Tolerance(0.5), Guarded(0.1), Guarded(0.5), WindowMinimum())
    assert len(rules) == len(NAMES)
    n, many = 100_000, 1_000_000
    found = tally(n, 1, "cpu", n, depths).numpy() / n
    engine = simulate(WORLD, rules, many, seed=2)
    for shares, rule in zip(found, engine.rules, strict=True):
        expected = np.array(rule.layers[::-1][: WORLD.K + 1]) / many
        error = np.sqrt(expected * (1 - expected) * (1 / n + 1 / many)) + 1e-9
        assert (np.abs(shares - expected) < 5 * error + 1e-5).all(), rule.name


def test_another_rule_is_told_apart() -> None:
    n = 100_000
    found = tally(n, 1, "cpu", n, depths)[0].numpy() / n
    wrong = simulate(WORLD, (Tolerance(0.02),), 1_000_000, seed=2).rules[0]
    expected = np.array(wrong.layers[::-1][: WORLD.K + 1]) / 1_000_000
    assert np.abs(found - expected).max() > 5 * 0.5 / np.sqrt(n)


@pytest.mark.parametrize("token", [0, 2**32 - 1, 2**32, 2**40])
def test_counters_above_32_bits_are_counters_of_their_own(token: int) -> None:
    words = [philox(torch.tensor([token + k * 2**32]), 0, 7)[0].item() for k in range(4)]
    assert len(set(words)) == 4
