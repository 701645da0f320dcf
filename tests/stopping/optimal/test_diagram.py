"""The phase diagram: its worlds, its cells, resumption; and the command that makes it."""

import io
import json
import math
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stopping.changepoint import ChangePointModel, Scale, write_model
from stopping.cli.main import exit_code, group
from stopping.errors import UserError
from stopping.figures.draw import diagram_figure
from stopping.figures.theme import check_format
from stopping.optimal.comparison import compare_rules
from stopping.optimal.diagram import (
    Grid,
    Optimality,
    Point,
    compute,
    diagram,
    is_near,
    reference,
    settings,
    world,
)
from stopping.optimal.rules import Bayes
from stopping.optimal.tables import value_text
from stopping.rules import Final
from stopping.simulation.montecarlo import Estimate
from stopping.support.parallel import Workers
from stopping.support.store import Journal
from tests.stopping.changepoint.models import one_class, two_classes

GRID: Grid = ((0.05, 1.0), (0.1, 0.7), (0.0, 0.1))


@pytest.fixture(scope="module")
def cells() -> tuple[Optimality, ...]:
    return diagram(reference(3), seed=1, paths=1_500, grid=GRID)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in this process: what it prints and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = exit_code(lambda: group.main(["solve", *arguments], standalone_mode=False))
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def test_a_world_has_the_noise_and_share_that_it_is_asked_for() -> None:
    model = world(reference(), 0.6, 0.3)
    assert model.turning_distribution()[-1] == pytest.approx(0.7)
    assert model.components[0].noise_sd == pytest.approx(0.6 / math.sqrt(3))
    doubled = replace(reference(), rise_mean=np.full(6, 2.0))
    assert world(doubled, 0.6, 0.3).components[0].noise_sd == pytest.approx(1.2 / math.sqrt(3))
    for eps_max, share in ((-1.0, 0.5), (0.1, 1.5), (math.nan, 0.5)):
        with pytest.raises(UserError, match="world"):
            world(reference(), eps_max, share)
    with pytest.raises(UserError, match="perturbs no token"):
        world(replace(reference(), turning=np.eye(7)[6]), 0.1, 0.5)


def test_cells_say_what_they_are(cells: tuple[Optimality, ...]) -> None:
    assert len(cells) == 8
    for cell in cells:
        assert cell.gap == pytest.approx(cell.search - cell.optimum, abs=1e-5)
        assert cell.near == pytest.approx(cell.gap - 0.05 * abs(cell.optimum), abs=1e-5)
        assert cell.gap >= -4 * cell.gap_stderr
        assert cell.final > cell.optimum - 4 * cell.gap_stderr
        assert cell.won == pytest.approx(
            (cell.final - cell.search) / (cell.final - cell.optimum), rel=1e-6
        )
    by = {(c.eps_max, c.perturbed, c.cost): c for c in cells}
    # Noise and rarer perturbation make the search worse, relative to what can be won.
    assert by[0.05, 0.7, 0.0].won > 0.98
    assert by[0.05, 0.7, 0.0].near <= 0 < by[1.0, 0.7, 0.0].near
    assert by[1.0, 0.7, 0.0].won < 0.95
    assert by[1.0, 0.1, 0.0].won < by[1.0, 0.7, 0.0].won
    assert by[0.05, 0.1, 0.1].won < by[0.05, 0.1, 0.0].won


def test_a_free_cell_is_bayes_against_the_search() -> None:
    cell = compute(Point(0.5, 0.5, 0.0), reference(4), seed=0, paths=20_000)
    model = world(reference(4), 0.5, 0.5)
    tokens = model.sample(np.random.default_rng(1), 40_000)
    for rule, found in ((Bayes(model), cell.optimum), (Final(), cell.final)):
        true = tokens.excess(rule.choose(tokens.x))
        assert abs(true.mean() - found) < 5 * true.std() / math.sqrt(20_000)


def test_cells_come_out_the_same_resumed_or_in_parallel(
    cells: tuple[Optimality, ...], tmp_path: Path
) -> None:
    path = tmp_path / "cells.jsonl"
    about = settings(reference(3), 1, 1_500)
    diagram(reference(3), 1, 1_500, grid=(*GRID[:2], (0.0,)), journal=Journal.open(path, about))
    resumed = diagram(
        reference(3), 1, 1_500, grid=GRID, journal=Journal.open(path, about), workers=Workers(2)
    )
    assert resumed == cells
    with pytest.raises(UserError, match="other settings"):
        Journal.open(path, settings(reference(3), 2, 1_500))


def test_the_figure_shows_each_cell(cells: tuple[Optimality, ...]) -> None:
    figure = diagram_figure(cells)
    panels = figure.axes
    assert len(panels) == 2
    for ax, cost in zip(panels, (0.0, 0.1), strict=True):
        here = [cell for cell in cells if cell.cost == cost]
        written = sorted(text.get_text() for text in ax.texts)
        expected = sorted("<−1" if c.won < -1 else f"{c.won:.2f}".replace("-", "−") for c in here)
        assert written == expected
        rings = [line for line in ax.lines if line.get_marker() == "o"]
        assert len(rings) == sum(is_near(c, len(cells)) is not False for c in here)


def test_near_is_said_of_all_worlds_together(cells: tuple[Optimality, ...]) -> None:
    """Where every world lies on the border, few maps of 48 say a word; at two errors most do."""
    rng = np.random.default_rng(0)
    wrong = naive = 0
    for _ in range(200):
        drawn = [replace(cells[0], near=float(z), near_stderr=1.0) for z in rng.standard_normal(48)]
        wrong += any(is_near(cell, 48) is not None for cell in drawn)
        naive += any(abs(cell.near) > 2 for cell in drawn)
    # 5 % of 200 are 10; 23 or more come once in 10,000.
    assert wrong < 23
    assert naive > 150
    assert is_near(replace(cells[0], near=-5.0, near_stderr=1.0), 48) is True
    assert is_near(replace(cells[0], near=5.0, near_stderr=1.0), 48) is False


def test_figure_formats() -> None:
    assert check_format(Path("a.SVG")) == "svg"
    with pytest.raises(UserError, match=r"name a figure \*\.svg"):
        check_format(Path("a.gif"))


@pytest.mark.slow
def test_solve_prints_a_bracket_saves_the_rule_and_draws(tmp_path: Path) -> None:
    model, rule, figure = tmp_path / "m.json", tmp_path / "r.json", tmp_path / "f.svg"
    write_model(model, one_class())
    arguments = ("--cost", "0.05", "--paths", "1000", "--out", str(rule), "--figure", str(figure))
    done = run(str(model), *arguments, "--rule", "search", "--rule", f"bayes:file={model}")
    assert done.returncode == 0, done.stderr
    assert "at least" in done.stdout
    assert f"snell:file={rule}" in done.stdout
    assert figure.read_text().startswith("<?xml")
    again = run(
        str(model), *arguments, "--rule", f"snell:file={rule}", "--rule", "search", "--json"
    )
    assert again.returncode == 2  # the saved rule has the name of the one just found
    assert "is the name of the one to be solved" in again.stderr


def test_solve_json(tmp_path: Path) -> None:
    model = tmp_path / "m.json"
    write_model(model, two_classes(Scale(0.2)))
    done = run(str(model), "--cost", "0.1", "--paths", "1000", "--json", "--rule", "search")
    content = json.loads(done.stdout)
    assert content["value"]["at_least"]["mean"] < content["value"]["at_most"]["mean"] + 0.1
    value = content["value"]
    assert value["bracket"]["low"] == value["at_least"]["low"] < value["at_least"]["mean"]
    assert value["bracket"]["high"] == value["at_most"]["high"] > value["at_most"]["mean"]
    assert value["bracket"]["level"] == 0.95
    assert [row["name"] for row in content["rules"]] == ["snell c=0.1", "search"]
    assert content["exact"] is None
    assert content["model"] == "m.json"


@pytest.mark.parametrize(
    ("lower", "stderr", "words"),
    [
        (-0.2800, 0.004, "so in [-0.2878, -0.2561] at 95%"),
        (-0.2544, 0.004, "Crossed within the errors: the value is about -0.2572."),
        (-0.2544, 0.0001, "crossed by more than their errors at 95% allow"),
    ],
)
def test_solve_says_what_the_errors_allow(lower: float, stderr: float, words: str) -> None:
    solved = compare_rules(one_class(), 0.05, paths=1000, dual_budget=10_000, rules=())
    found = replace(
        solved,
        dual=replace(solved.dual, estimate=estimated(lower, stderr)),
        upper=estimated(-0.26, 0.002 if stderr > 0.001 else stderr),
    )
    text = value_text(found)
    assert words in text
    assert f"{lower:.4f} (s.e. {stderr:.4f})" in text
    assert ("rossed" in text) == found.bracket.crossed == (lower > -0.26)
    assert ("so in [" in text) == (found.bracket.low <= found.bracket.high)


def estimated(mean: float, stderr: float) -> Estimate:
    half = 1.96 * stderr
    return Estimate(mean, stderr, mean - half, mean + half, 0.0, 0, 1000, 0.95, 0)


def test_solve_knows_when_the_answer_is_exact(tmp_path: Path) -> None:
    model = tmp_path / "m.json"
    quiet = replace(one_class().components[0], noise_sd=np.zeros(5), start_sd=1e3)
    write_model(model, ChangePointModel((quiet,), np.ones(1)))
    done = run(str(model), "--cost", "0.1", "--paths", "1000", "--json", "--rule", "search")
    content = json.loads(done.stdout)
    exact, value = content["exact"]["value"], content["value"]
    assert content["exact"]["converged"]
    assert value["at_least"]["mean"] - 4 * value["at_least"]["stderr"] < exact + 0.002
    assert exact - 0.002 < value["at_most"]["mean"] + 4 * value["at_most"]["stderr"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.json",), "cannot be read"),
        (("--cost", "-1"), "cost"),
        (("--rule", "nonsense"), "unknown kind"),
        (("--rule", "offset:k=9", "--paths", "1000", "--rule", "offset:k=9"), "one name"),
        (("--figure", "a.gif"), "name a figure"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_phases_of_a_model_with_classes_are_refused(tmp_path: Path) -> None:
    model = tmp_path / "m.json"
    write_model(model, two_classes(Scale(0.2)))
    done = run("phases", str(model))
    assert done.returncode == 2
    assert "one component" in done.stderr
