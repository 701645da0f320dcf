"""One grid: a world comes out the same alone, beside others, resumed or in parallel."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from stopping.errors import UserError
from stopping.model.scenarios import scenarios
from stopping.simulation.grid import measure, product
from stopping.simulation.robustness import robustness_table, settings
from stopping.support.parallel import Workers
from stopping.support.store import Journal


@dataclass(frozen=True)
class World:
    a: float
    b: int


@dataclass(frozen=True)
class Found:
    value: float


def add(world: World) -> Found:
    return Found(world.a + world.b)


def forbidden(world: World) -> Found:
    raise AssertionError(f"{world} was finished")


def test_the_first_axis_varies_slowest() -> None:
    assert product(World, (0.5, 1.0), (1, 2)) == (
        *(World(0.5, 1), World(0.5, 2)),
        *(World(1.0, 1), World(1.0, 2)),
    )
    with pytest.raises(UserError, match="an axis has no value"):
        product(World, (0.5,), ())


def test_finished_worlds_are_not_measured_again(tmp_path: Path) -> None:
    worlds = product(World, (0.5, 1.0), (1, 2))
    path, done = tmp_path / "kept.jsonl", list[int]()
    first = measure(worlds[:3], add, Found, journal=Journal.open(path, {}))
    whole = measure(worlds, add, Found, journal=Journal.open(path, {}), advance=done.append)
    assert whole == measure(worlds, add, Found, workers=Workers(2)) == tuple(map(add, worlds))
    assert whole[:3] == first
    assert done == [3, 1]
    assert measure(worlds, forbidden, Found, journal=Journal.open(path, {})) == whole


def test_two_worlds_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="the same world twice"):
        measure((World(1.0, 1), World(1.0, 1)), add, Found)


def test_the_robustness_table_resumes_at_any_error_level(tmp_path: Path) -> None:
    some = scenarios()[:4]
    path = tmp_path / "kept.jsonl"
    journal = Journal.open(path, settings(1, 1000))
    robustness_table(1, 1000, some[:2], journal=journal)
    again = robustness_table(1, 1000, some, 0.01, journal=Journal.open(path, settings(1, 1000)))
    assert again == robustness_table(1, 1000, some, 0.01)
    with pytest.raises(UserError, match="tokens was 1000, is 2000"):
        Journal.open(path, settings(1, 2000))
