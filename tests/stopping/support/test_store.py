"""Finished cells: kept whole, found again, never mixed with those of another run."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from stopping.cli.verify import verify
from stopping.errors import UserError
from stopping.support.parallel import Workers
from stopping.support.store import Journal, sweep
from tests.killed import kill_after

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Cell:
    mean: float
    n: int
    name: str


@dataclass(frozen=True)
class Other:
    deepest: float


def compute(cell: int) -> Cell:
    # Numbers that decimal text does not hold unless it is written in full; numpy's too.
    return Cell(np.float64(1.0) / (cell + 3) if cell else float("inf"), np.int64(cell), f"l'{cell}")


def work(n: int) -> dict[str, Callable[[], Cell]]:
    return {f"cell {i}": partial(compute, i) for i in range(n)}


def forbidden() -> Cell:
    raise AssertionError("a finished cell is not done again")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_goes_on_where_it_was(tmp_path: Path, jobs: int) -> None:
    path = tmp_path / "cells.jsonl"
    first = sweep(work(5), Cell, workers=Workers(jobs), journal=Journal.open(path, {"seed": 1}))
    assert first == sweep(work(5), Cell) == {f"cell {i}": compute(i) for i in range(5)}
    done: list[int] = []
    begun = {**dict.fromkeys(work(5), forbidden), **{"cell 5": partial(compute, 5)}}
    journal = Journal.open(path, {"seed": 1})
    assert sweep(begun, Cell, journal=journal, advance=done.append) == sweep(work(6), Cell)
    assert done == [5, 1]
    # Another order, fewer cells: those asked for, in the order asked.
    some = {"cell 4": forbidden, "cell 2": forbidden}
    assert list(sweep(some, Cell, journal=Journal.open(path, {"seed": 1}))) == ["cell 4", "cell 2"]


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_half_a_line_is_done_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cells.jsonl"
    sweep(work(4), Cell, journal=Journal.open(path, {}))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    journal = Journal.open(path, {})
    assert len(journal.finished) == 3
    assert sweep(work(4), Cell, journal=journal) == sweep(work(4), Cell)
    assert path.read_bytes() == whole


def test_other_settings_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    sweep(work(2), Cell, journal=Journal.open(path, {"seed": 1, "grid": [0.1]}))
    with pytest.raises(UserError, match=r"seed was 1, is 2.*--fresh"):
        Journal.open(path, {"seed": 2, "grid": [0.1]})
    assert Journal.open(path, {"seed": 2}, fresh=True).finished == {}
    assert Journal.open(path, {"seed": 2}).finished == {}


@pytest.mark.parametrize("content", ["", "my thesis\n", '{"a": 1}\n', '{"settings": {}}\n[1]\n'])
def test_a_foreign_file_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text(content)
    for fresh in (False, True):
        with pytest.raises(UserError, match="damaged, or no file of finished cells"):
            Journal.open(path, {}, fresh)
    assert path.read_text() == content


def test_cells_of_another_kind_are_told(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    sweep(work(2), Cell, journal=Journal.open(path, {}))
    with pytest.raises(UserError, match="cells of another sweep"):
        sweep({"cell 1": lambda: Other(1.0)}, Other, journal=Journal.open(path, {}))


def test_paths_that_cannot_be_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        Journal.open(tmp_path, {})
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        Journal.open(tmp_path / "file" / "cells.jsonl", {})
    with pytest.raises(UserError, match="--resume"):
        Journal.open(None, {}, fresh=True)


@pytest.mark.slow
def test_a_killed_verify_ends_as_one_that_was_not(tmp_path: Path) -> None:
    path = tmp_path / "verify.jsonl"
    arguments = ["verify", "T2.excess", "T4", "--effort", "1", "--json", "--jobs", "1"]
    kill_after(2, "stopping.support.store:Journal", "keep", *arguments, "--resume", path)
    kept = path.read_bytes().count(b"\n") - 1
    resumed, fresh = (
        CliRunner().invoke(verify, [*arguments[1:], *options])
        for options in (["--resume", str(path)], [])
    )
    assert resumed.exit_code == fresh.exit_code == 0, resumed.output
    assert resumed.stdout == fresh.stdout
    lines = path.read_text().splitlines()
    names = [json.loads(line)[0] for line in lines[1:]]
    assert 2 == kept < len(names) == len(set(names))
