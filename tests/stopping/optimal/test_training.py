"""Training paths in blocks, learners beside least squares, and the dual bound of a budget."""

import math
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from stopping.errors import UserError
from stopping.optimal import control
from stopping.optimal.bases import Polynomial, RandomNetwork, Trees, basis_from
from stopping.optimal.budget import dual_bound
from stopping.optimal.control import Control, ControlFit
from stopping.optimal.dual import Dual
from stopping.optimal.layers import LayerProblem
from stopping.optimal.published import MAX_CALL, MaxCall
from stopping.optimal.regression import Policy, fit_policy
from stopping.optimal.rules import Snell, save_rule
from stopping.optimal.training import TrainingPaths
from stopping.simulation.montecarlo import estimate
from stopping.support.parallel import Workers
from stopping.types import FloatArray
from tests.stopping.changepoint.models import one_class
from tests.stopping.optimal.puts import Put, PutProblem

ERRORS = 4.0
"""Standard errors: each check errs with probability 6e-5."""
LOW, HIGH = MAX_CALL[2, 100]


def peak(run: Callable[[], object]) -> int:
    """Most bytes that Python and numpy hold during `run`, beyond those before it."""
    run()  # what is loaded or cached once
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


PUT = PutProblem(Put(36.0), 5, european=True)


def training(n: int, block: int) -> int:
    return peak(lambda: fit_policy(PUT, Polynomial(3), np.random.default_rng(0), n, block=block))


def test_training_holds_one_block_and_a_number_for_each_path() -> None:
    """Sixteen times the paths: 8 bytes for each more, and as much again while they are joined."""
    few, many = training(2_000, 1_000), training(32_000, 1_000)
    assert many - few < 2.5 * 8 * 30_000
    # The negative control: in one block all paths are held, with what is known of them.
    assert training(32_000, 32_000) - few > 10 * 8 * 30_000


def test_evaluation_holds_one_block() -> None:
    policy = fit_policy(PUT, Polynomial(3), np.random.default_rng(0), 2_000)

    def evaluation(n: int, block: int) -> int:
        return peak(lambda: estimate(policy.draw, n, 0, block=block))

    few, many = evaluation(2_000, 1_000), evaluation(32_000, 1_000)
    assert many < 1.2 * few
    assert evaluation(32_000, 32_000) > 10 * few


def test_paths_are_drawn_again_as_they_were() -> None:
    paths = TrainingPaths(PUT, np.random.default_rng(0), 250, 100)
    again = [np.concatenate([piece.further for piece in paths.at(3)]) for _ in range(2)]
    assert (again[0] == again[1]).all()
    assert [piece.rows for piece in paths.at(0)] == [
        slice(0, 100),
        slice(100, 200),
        slice(200, 250),
    ]
    assert len(np.unique(again[0][:, -1])) == 250


@pytest.mark.slow
def test_blocks_change_the_paths_and_not_the_problem() -> None:
    policy = fit_policy(
        MaxCall(2),
        Polynomial(2, 2),
        np.random.default_rng(1),
        6_000,
        control=Polynomial(1, 1),
        block=1_500,
    )
    lower = estimate(policy.draw, 10_000, 2)
    assert 0.99 * LOW < -lower.mean < HIGH + ERRORS * lower.stderr


@pytest.fixture(scope="module")
def two_stocks() -> Policy:
    return fit_policy(
        MaxCall(2), Polynomial(2, 2), np.random.default_rng(1), 5_000, control=Polynomial(1, 1)
    )


@pytest.mark.slow
def test_bounds_do_not_depend_on_the_number_of_workers(two_stocks: Policy) -> None:
    alone = estimate(two_stocks.draw, 3_000, 1, block=1_000)
    assert estimate(two_stocks.draw, 3_000, 1, block=1_000, workers=Workers(2)) == alone
    bound = dual_bound(two_stocks, 60_000, 1)
    assert dual_bound(two_stocks, 60_000, 1, workers=Workers(2)) == bound
    assert dual_bound(two_stocks, 60_000, 2) != bound


@pytest.mark.slow
def test_a_larger_budget_buys_a_tighter_bound(two_stocks: Policy) -> None:
    """Few steps afford the regression's martingale alone, more afford continuations."""
    small, large = dual_bound(two_stocks, 10_000, 1), dual_bound(two_stocks, 600_000, 1)
    assert small.inner == 0 < large.inner
    assert {pilot.inner for pilot in small.pilots} < {pilot.inner for pilot in large.pilots}
    assert small.estimate.low < large.estimate.low
    for found in (small, large):
        steps = found.estimate.n * MaxCall(2).horizon * (1 + found.inner)
        assert 0.7 * found.budget < steps < found.budget
        assert -found.estimate.mean > LOW - ERRORS * found.estimate.stderr


def test_without_a_control_all_candidates_are_nested() -> None:
    policy = fit_policy(PUT, Polynomial(2), np.random.default_rng(0), 2_000)
    assert dual_bound(policy, 100_000, 0).inner > 0


def test_layers_have_martingales() -> None:
    """Increments have mean 0 given the past: also where it says much, and the control helps."""
    problem, n = LayerProblem(one_class(), 0.02), 20_000
    x = problem.sample(np.random.default_rng(0), n)
    views = [problem.look(x[:, : t + 1]) for t in range(problem.horizon + 1)]
    for t in range(problem.horizon):
        increments = problem.increments(views[t], views[t + 1], x[:, : t + 2])
        for weight in (np.ones(n), views[t].features[:, 2]):
            products = increments * weight[:, None]
            error = products.std(axis=0) / math.sqrt(n)
            assert (np.abs(products.mean(axis=0)) < 5 * error + 1e-12).all()
    # The negative control: increments of what is no posterior mean.
    wrong = views[1].features - views[0].features
    assert (np.abs(wrong.mean(axis=0)) > 5 * wrong.std(axis=0) / math.sqrt(n)).any()


def test_coefficients_of_martingales_that_move_together_stay_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Posterior means do: coefficients that cancel on the fit's paths explode on a fresh one."""
    rng, n = np.random.default_rng(0), 2_000
    features, moment, noise = rng.normal(size=(3, n, 1))
    moments = np.column_stack([moment, moment + 1e-4 * rng.normal(size=(n, 1))])

    def largest() -> float:
        fit = ControlFit(Polynomial(1).fit(features))
        fit.add(features, moments, np.ones((n, 1)), (moment + noise)[:, 0])
        return float(np.abs(fit.solve().weights).max())

    assert largest() < 2
    # The negative control: without the ridge.
    monkeypatch.setattr(control, "RIDGE", 1e-12)
    assert largest() > 50


@dataclass(frozen=True, eq=False)
class Drifting(Control):
    """The negative control: increments of negative mean, so no martingale's."""

    def __call__(self, features: FloatArray, moments: FloatArray) -> FloatArray:
        return super().__call__(features, moments) - 0.005


def test_the_control_tightens_the_bounds_of_the_layers() -> None:
    problem = LayerProblem(one_class(), 0.02)
    plain = fit_policy(problem, Polynomial(2), np.random.default_rng(0), 4_000)
    policy = fit_policy(
        problem, Polynomial(2), np.random.default_rng(0), 4_000, control=Polynomial(1, 1)
    )
    upper, noisy = estimate(policy.draw, 4_000, 1), estimate(plain.draw, 4_000, 1)
    assert upper.stderr < noisy.stderr
    assert abs(upper.mean - noisy.mean) < ERRORS * math.hypot(upper.stderr, noisy.stderr)
    nested, before = (estimate(Dual(p, 8).draw, 500, 2) for p in (policy, plain))
    assert nested.stderr < before.stderr
    alone = estimate(Dual(policy, 0).draw, 2_000, 3)
    for lower in (nested, alone):
        assert lower.mean < upper.mean + ERRORS * math.hypot(lower.stderr, upper.stderr)
    stages = tuple(
        replace(stage, control=Drifting(stage.control.fitted, stage.control.weights))
        for stage in policy.stages
        if stage.control is not None
    )
    broken = estimate(Dual(replace(policy, stages=stages), 0).draw, 2_000, 3)
    assert broken.mean > upper.mean + ERRORS * math.hypot(broken.stderr, upper.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("basis", [RandomNetwork(24, 3), Trees(40, 8)])
def test_other_bases_serve(basis: RandomNetwork | Trees) -> None:
    assert basis_from(basis.settings()) == basis
    policy = fit_policy(
        MaxCall(2), basis, np.random.default_rng(1), 4_000, control=Polynomial(1, 1)
    )
    lower = estimate(policy.draw, 10_000, 2)
    assert 0.97 * LOW < -lower.mean < HIGH + ERRORS * lower.stderr
    upper = dual_bound(policy, 50_000, 3).estimate
    assert -upper.mean > LOW - ERRORS * upper.stderr


def test_trees_are_the_same_every_time_and_cannot_be_saved(tmp_path: Path) -> None:
    problem = LayerProblem(one_class(), 0.02)
    policies = [fit_policy(problem, Trees(5), np.random.default_rng(0), 500) for _ in range(2)]
    x = problem.sample(np.random.default_rng(1), 300)
    assert (policies[0].run(x)[1] == policies[1].run(x)[1]).all()
    with pytest.raises(UserError, match="trees cannot be saved"):
        save_rule(tmp_path / "rule.json", Snell(policies[0]))


def test_trees_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    with pytest.raises(UserError, match=r"trees need scikit-learn.*\[learn\]"):
        Trees()


BAD: dict[str, Callable[[], object]] = {
    "1 to 1000 trees": lambda: Trees(0),
    "2 to 256 leaves": lambda: Trees(leaves=1),
    "a rate in": lambda: Trees(rate=math.nan),
    "at least one": lambda: TrainingPaths(PUT, np.random.default_rng(0), 10, 0),
    "budget: needs": lambda: dual_bound(
        fit_policy(PUT, Polynomial(1), np.random.default_rng(0), 500), 100, 0
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message: str) -> None:
    with pytest.raises(UserError, match=message):
        BAD[message]()
