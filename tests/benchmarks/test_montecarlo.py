"""What the benchmark compares does the same work, and its ratios are those of one round."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measure import Times, interleave, machine, save
from benchmarks.montecarlo import RULES, WORLDS, floor
from benchmarks.plain import BINS, HIGH, loop
from benchmarks.plain import simulate as plain
from stopping.rules import Search
from stopping.simulation.engine import simulate


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_the_obvious_way_finds_what_the_engine_finds(world: str) -> None:
    rules = (
        *RULES["ten rules, some over all 40 layers"],
        *RULES["zoo, 18 rules, window of 11 layers"],
    )
    few, many = 20_000, 200_000
    engine = simulate(WORLDS[world], rules, many, 1, bins=BINS, high=HIGH)
    for found, (mean, variance, _, histogram, layers) in zip(
        engine.rules, plain(WORLDS[world], rules, few, 2), strict=True
    ):
        error = math.sqrt(variance / few + found.variance / many)
        assert abs(found.mean - mean) <= 5 * error + 1e-6, found.rule
        assert np.abs(np.array(found.layers) / many - layers / few).max() < 5 * 0.5 / math.sqrt(few)
        assert histogram.sum() <= few


@pytest.mark.parametrize("world", WORLDS)
def test_the_loop_finds_what_the_engine_finds(world: str) -> None:
    few = 4_000
    (found,) = simulate(WORLDS[world], [Search()], 200_000, 1).rules
    error = math.sqrt(found.variance / few + found.stderr**2)
    assert abs(found.mean - loop(WORLDS[world], Search().K, few, 2)) <= 5 * error
    # Negative control: a search that looks back less far is found out.
    assert abs(found.mean - loop(WORLDS[world], 1, few, 2)) > 5 * error


def test_the_floor_draws_as_many_numbers_as_the_engine_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = {"random": 0, "standard_exponential": 0}

    class Counting:
        def __init__(self, *_: object) -> None: ...

        def random(self, out: np.ndarray, dtype: type) -> None:
            drawn["random"] += out.size

        standard_normal = random

        def standard_exponential(self, out: np.ndarray, dtype: type) -> None:
            drawn["standard_exponential"] += out.size

    monkeypatch.setattr("benchmarks.montecarlo.np.random.Generator", Counting)
    n = 1 << 18
    floor(WORLDS["uniform, random rises"], RULES["zoo, 18 rules, window of 11 layers"], n)()
    assert drawn["random"] == 11 * n
    # V* is uniform on ten layers: one to ten rises lie beyond it.
    assert drawn["standard_exponential"] == pytest.approx(5.5 * n, rel=0.02)


def test_ratios_are_taken_within_a_round() -> None:
    times = Times({"a": [1.0, 10.0, 3.0], "b": [2.0, 20.0, 1.0]})
    assert times.ratio("b", "a").median == 2.0
    assert times.median("a") == 3.0
    ticks = iter(range(100))
    order: list[str] = []
    found = interleave(
        {"x": lambda: order.append("x"), "y": lambda: order.append("y")},
        3,
        lambda: float(next(ticks)),
    )
    assert order == ["x", "y"] * 4
    assert [len(found.seconds[name]) for name in "xy"] == [3, 3]


def test_results_say_what_made_them(tmp_path: Path) -> None:
    path = save("name", machine("numpy", "no-such"), [{"a": np.float64(1.5)}], tmp_path / "r.json")
    found = json.loads(path.read_text())
    assert found["rows"] == [{"a": 1.5}]
    assert found["provenance"]["versions"]["numpy"] == np.__version__
    assert found["provenance"]["versions"]["no-such"] == "not installed"
    assert found["provenance"]["processor"]
