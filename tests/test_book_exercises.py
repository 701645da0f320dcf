"""The solutions of the book's exercises, computed; every exercise of a page has its test here."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from stopping.rules import Search
from stopping.theory.bounds import tolerance_bound
from stopping.theory.calibration_budget import curse_bound
from stopping.theory.certificates import certify
from stopping.theory.exact import flat_distribution
from stopping.theory.identification import identify

PAGES = Path(__file__).parents[1] / "book" / "pages"
SOLVED = {
    "bounds": 2,
    "calibration": 1,
    "certificates": 1,
    "exact-distribution": 1,
    "random-noise": 1,
}


def test_every_exercise_has_a_solution_and_a_test() -> None:
    asked, solved = {}, {}
    for page in PAGES.glob("*.md"):
        text = page.read_text("utf-8")
        asked[page.stem] = text.count(":::{admonition} Exercise")
        solved[page.stem] = text.count(":::{admonition} Solution\n:class: dropdown")
    assert asked == solved
    assert {page: n for page, n in asked.items() if n} == SOLVED


def test_how_far_past_the_turning_point() -> None:
    assert tolerance_bound(0.2, 0.15, 2) > 0 > tolerance_bound(0.2, 0.15, 3)


def test_t4_with_two_layers() -> None:
    eps, eta = 1.0, 1e-6
    G = np.array([2 * eps - eta, 0.0])
    stop = Search(K=1).choose((G + np.array([-eps, eps]))[None])[0]
    assert G[stop] - G[-1] == pytest.approx(2 * eps - eta)


def test_one_window_by_hand() -> None:
    x = np.array([[0.5, 0.4, 0.9]])
    assert identify(x).consistent(0.1).tolist() == [[False, True, False]]
    stop = Search(K=2).choose(x)[0]
    assert stop == 1
    assert certify(x, 0.1).excess[0, stop] == 0.0


def test_a_short_window() -> None:
    share = flat_distribution(2)
    assert share @ np.arange(3) == pytest.approx(2 / 3)
    assert share @ np.arange(3) < math.e - 2


def test_two_points_of_noise() -> None:
    fall = 1.5
    G = np.array([fall, 0.0])
    x = G + np.array(list(product((-1.0, 1.0), repeat=2)))
    assert G[Search(K=1).choose(x)].mean() == pytest.approx(fall / 4)


def test_a_rare_choice() -> None:
    assert curse_bound(np.array([0.1, 0.9]), np.array([0.5, 0.0])) == pytest.approx(0.15)
