"""Rules over a grid of worlds: each cell is what its world gives, alone or among others."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from stopping.cli.main import main
from stopping.cli.numbers import Axis, Number
from stopping.cli.sweep import thin
from stopping.errors import UserError
from stopping.figures.draw import draw_gain
from stopping.figures.theme import blank
from stopping.rules import Final, Search, zoo
from stopping.simulation.engine.model import Model
from stopping.simulation.sweep import Losses, World, grid, landscape, lead, settings
from stopping.support.parallel import Workers
from stopping.support.store import Journal
from stopping.theory.exact import stopping_distribution

RULES = (Final(), Search())
TOKENS = 20_000


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    text = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, text.out, text.err


@pytest.mark.parametrize("law", ["uniform", "gaussian"])
def test_a_cell_agrees_with_the_exact_distribution(law: str) -> None:
    world = World(0.4, 2.5, 0.3, law)  # type: ignore[arg-type]
    cell = landscape((world,), RULES, 200_000, 1)[world]
    model = Model.of(world.process())
    exact = {Final(): 0.0, Search(): 0.0}
    for turning, weight, latent in zip(model.turning, model.weight, model.latent, strict=True):
        found = stopping_distribution(latent, world.process().noise, K=10)
        exact[Search()] += weight * found.expected_excess(turning)
        exact[Final()] += weight * (latent[-1] - latent[turning])
    for mean, error, rule in zip(cell.mean, cell.stderr, RULES, strict=True):
        assert abs(mean - exact[rule]) < 4.5 * error
    assert abs(cell.mean[1] - 1.1 * exact[Search()]) > 4.5 * cell.stderr[1]


def test_a_cell_does_not_depend_on_the_others(tmp_path: Path) -> None:
    worlds = grid([0.1, 0.5], [1.0, 3.0])
    whole = landscape(worlds, zoo(), TOKENS, 3)
    assert landscape(worlds[2:3], zoo(), TOKENS, 3) == {worlds[2]: whole[worlds[2]]}
    assert landscape(worlds, zoo(), TOKENS, 3, workers=Workers(2)) == whole
    assert landscape(worlds[:1], zoo(), TOKENS, 4)[worlds[0]] != whole[worlds[0]]
    path = tmp_path / "cells.jsonl"
    for part in (worlds[:2], worlds):
        journal = Journal.open(path, settings(zoo(), TOKENS, 3))
        again = landscape(part, zoo(), TOKENS, 3, journal=journal)
    assert again == whole
    with pytest.raises(UserError, match="seed was 3, is 4"):
        Journal.open(path, settings(zoo(), TOKENS, 4))


def test_the_search_pays_where_late_layers_spoil_and_not_where_they_help() -> None:
    rise, fall = World(0.0, 4.0, 0.9), World(1.0, 0.0, 0.0)
    cells = landscape((rise, fall), RULES, TOKENS, 0)
    assert lead(cells[rise], 1, 0) == 1
    assert lead(cells[fall], 1, 0) == -1
    same = Losses((1.0, 1.001), (0.01, 0.01), (1.0, 1.0), (0.0, 1.0))
    assert lead(same, 1, 0) == 0


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["sweep", "--drift", "0:1:3", "--rise", "1,3", "--perturbed", "0.5"]
    arguments += ["--tokens", "2000", "--jobs", "1", "--resume", str(tmp_path / "c.jsonl")]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert "6 worlds, 2,000 tokens each" in out
    assert "50% perturbed" in out
    code, out, _ = run(capsys, *arguments, "--json")
    found = json.loads(out)
    assert [cell["world"]["drift"] for cell in found["cells"]] == [0, 0, 0.5, 0.5, 1, 1]
    means = np.array([cell["found"]["mean"] for cell in found["cells"]])
    assert means.shape == (6, len(found["rules"]))
    world = grid([0.0], [1.0], [0.5])[0]
    assert tuple(means[0]) == landscape((world,), zoo(), 2000, 0)[world].mean


@pytest.mark.slow
@pytest.mark.parametrize("rules", [[], ["search", "minimum"]], ids=["zoo", "no final layer"])
@pytest.mark.parametrize("rises", ["0:4:3", "1"], ids=["a plane", "a line"])
def test_figure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, rules: list[str], rises: str
) -> None:
    arguments = ["--rise", rises, "--perturbed", "0.05,0.5", "--tokens", "2000", "--jobs", "1"]
    arguments += [word for rule in rules for word in ("--rule", rule)]
    path = tmp_path / "worlds.svg"
    code, out, _ = run(capsys, "sweep", "--drift", "0:1:3", *arguments, "--figure", path)
    assert code == 0
    assert out.splitlines()[-1] == f"Wrote {path}."
    assert path.read_text().rstrip().endswith("</svg>")


def test_the_gain_is_drawn_where_it_belongs() -> None:
    worlds = grid([0.0, 0.5], [1.0, 2.0, 3.0], [0.5])
    cells = {world: Losses((0.0, 0.0), (0.1, 0.1), (1.0, 1.0), (0.0, 1.0)) for world in worlds} | {
        worlds[1]: Losses((3.0, 1.0), (0.1, 0.1), (9.0, 9.0), (0.0, 1.0))
    }
    mesh = draw_gain(blank().subplots(), cells, RULES, 0.5, 5.0)
    assert mesh.get_array().tolist() == [[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--figure", "worlds.jpg"), "name a figure *.svg, *.pdf or *.png"),
        (("--drift", "a:b:c"), "FIRST:LAST:COUNT"),
        (("--drift", "-1"), "-1.0 is not in the range 0<=x<=1000"),
        (("--perturbed", "2"), "perturbed"),
        (("--rule", "search", "--rule", "search"), "the same rule twice"),
        (("--rule", "hedged:eps_max=1"), "no scan for this rule"),
        (("--fresh",), "--resume"),
        (("--scheduler", "tcp://head:8786"), "this machine alone"),
    ],
)
def test_bad_input_is_told(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    few = ("--rise", "1", "--tokens", "100", "--jobs", "1")
    code, _, err = run(capsys, "sweep", *few, *arguments)
    assert code == 2
    assert message in " ".join(err.split())


def test_axes() -> None:
    axis = Axis(Number(0, 10))
    assert axis.convert("0:1:11", None, None)[3] == 0.3
    assert axis.convert("0.1,2", None, None) == (0.1, 2.0)
    assert thin([float(i) for i in range(100)])[-1] == 99.0
    assert math.isclose(thin([0.0, 1.0])[1], 1.0)
