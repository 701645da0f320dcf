"""A comparison that stops when it is decided: its level, its power, and where it stops."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from empirical.evaluation.answers import Answer
from empirical.evaluation.comparison import Sequential, compare
from empirical.evaluation.run import evaluate
from empirical.evaluation.runner import Settings
from empirical.evaluation.sequential import (
    anytime_p_value,
    drawn_order,
    fixed_size,
    log_evidence,
)
from empirical.evaluation.tables import summary
from empirical.model.load import load_model
from empirical.problems import draw_problems
from stopping.rules import Final, Search
from stopping.types import BoolArray
from tests.empirical.tiny_models import save_tiny_folder

ERROR = 0.05


def outcomes(fixed: float, regressed: float, runs: int, n: int) -> tuple[BoolArray, BoolArray]:
    """Problems that one alone solves, at these rates, shape (runs, n)."""
    u = np.random.default_rng(17).random((runs, n))
    return u < fixed, u > 1 - regressed


def decided(fixed: float, regressed: float, runs: int = 600, n: int = 600) -> float:
    """Share of the runs that are ever decided."""
    pairs = zip(*outcomes(fixed, regressed, runs, n), strict=True)
    return float(np.mean([anytime_p_value(f, r) < ERROR for f, r in pairs]))


@pytest.mark.parametrize("rate", [0.02, 0.2, 0.5])
def test_level_holds_however_often_one_looks(rate: float) -> None:
    assert decided(rate, rate) <= ERROR + 2 * math.sqrt(ERROR / 600)


def one_look(fixed: int, regressed: int) -> float:
    """McNemar's exact test."""
    differing = fixed + regressed
    return float(stats.binomtest(fixed, differing, 0.5).pvalue) if differing else 1.0


@pytest.mark.slow
def test_control_looking_again_and_again_at_a_test_of_one_look_is_fooled() -> None:
    fixed, regressed = outcomes(0.2, 0.2, 300, 400)
    up, down = fixed.cumsum(axis=1), regressed.cumsum(axis=1)
    looks = range(20, 400, 20)
    fooled = [any(one_look(int(u[t]), int(d[t])) < ERROR for t in looks)
              for u, d in zip(up, down, strict=True)]  # fmt: skip
    assert np.mean(fooled) > 2 * ERROR


def test_decides_where_there_is_a_difference() -> None:
    assert decided(0.15, 0.05) > 0.95


def test_saves_problems_against_a_size_fixed_beforehand() -> None:
    """Median stopping time below what the fixed test would take for a power of 80 %."""
    needed = fixed_size(0.25, 0.05, ERROR)
    stops = []
    for f, r in zip(*outcomes(0.25, 0.05, 200, 400), strict=True):
        up, down = f.cumsum().astype(float), r.cumsum().astype(float)
        most = np.maximum(log_evidence(up, down), log_evidence(down, up))
        stops.append(int(np.argmax(most >= math.log(2 / ERROR))) + 1)
    assert np.median(stops) < 1.5 * needed


def test_evidence_by_quadrature() -> None:
    p = np.linspace(0.5, 1, 200_001)
    f, r = 7, 2
    by_hand = np.trapezoid(2 * (2 * p) ** f * (2 * (1 - p)) ** r, p)
    assert math.exp(log_evidence(np.array(7.0), np.array(2.0))) == pytest.approx(by_hand, rel=1e-6)


def test_a_fair_game() -> None:
    """The mean wealth after any number of even outcomes is 1 at most."""
    n = 12
    f = np.arange(n + 1.0)
    weights = special.binom(n, f) / 2**n
    assert (weights * np.exp(log_evidence(f, n - f))).sum() == pytest.approx(1.0)


def test_nothing_differs() -> None:
    none = np.zeros(9, dtype=bool)
    assert anytime_p_value(none, none) == 1.0
    assert math.isnan(fixed_size(0.1, 0.1, ERROR))


def test_order_of_the_answers_counts() -> None:
    """The evidence is read in the order in which problems were answered."""
    problems = draw_problems(30)
    plain = [_answer(i, False) for i in range(30)]
    rule = [_answer(i, i < 12) for i in range(30)]
    early, late = (
        compare(problems, plain, {("r", "r"): rule}, sequential=Sequential(order, 100))[0]
        for order in (range(30), range(29, -1, -1))
    )
    assert early.anytime is not None
    assert early.anytime.offered == 100
    assert early.p_adjusted == late.p_adjusted < ERROR
    mixed = [_answer(i, i % 2 == 0) for i in range(30)]
    plain = [_answer(i, i % 2 == 1) for i in range(30)]
    alternate = [i for pair in zip(range(0, 30, 2), range(1, 30, 2), strict=True) for i in pair]
    sorted_ = [*range(0, 30, 2), *range(1, 30, 2)]
    by_order = [
        compare(problems, plain, {("r", "r"): mixed}, sequential=Sequential(order, 30))[0]
        for order in (alternate, sorted_)
    ]
    assert by_order[0].p_adjusted == 1.0
    assert by_order[1].p_adjusted < ERROR


def _answer(problem: int, correct: bool) -> Answer:
    return Answer(
        problem=problem, text="", given=None, correct=correct, tokens=3, ended=True,
        moved=0, substituted=0, trail=None,
    )  # fmt: skip


def test_a_run_stops_once_decided_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_model(save_tiny_folder(tmp_path / "tiny"), device="cpu")
    problems = draw_problems(40)
    settings = Settings(max_new_tokens=2, batch=4, until_decided=True)
    undecided = evaluate(loaded, problems[:8], [Final()], settings)
    assert len(undecided.problems) == 8
    assert "All 8 problems were asked" in summary(undecided)

    calls = []

    def solved_by_the_rule_alone(loaded, some, rule, settings, anatomy, lens):  # type: ignore[no-untyped-def]
        calls.append(rule)
        return tuple(_answer(index, rule is not None) for index, _ in some)

    monkeypatch.setattr("empirical.evaluation.runner.answer_batch", solved_by_the_rule_alone)
    out = tmp_path / "out.json"
    found = evaluate(loaded, problems, [Search(2)], settings, out=out)
    assert len(found.problems) == 8  # 2 * 2^8 / 9 > 40: decided at the second batch or third
    assert {p[0] for p in found.problems} == {problems[i].id for i in drawn_order(40, 0)[:8]}
    assert "Stopped after 8 of 40 problems" in summary(found)
    count = len(calls)
    again = evaluate(loaded, problems, [Search(2)], settings, out=out)
    assert len(calls) == count
    assert again.rules == found.rules
