"""S1: the two-phase model on a grid against simulation, regression, and its own simple cases."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from stopping.changepoint import ChangePointModel, Component
from stopping.errors import UserError
from stopping.optimal.bases import Polynomial
from stopping.optimal.belief import advance, final_excess, solve_belief
from stopping.optimal.dual import Dual
from stopping.optimal.layers import LayerProblem
from stopping.optimal.regression import fit_policy
from stopping.simulation.montecarlo import estimate

FLAT = 1e5
"""A spread of the start that says nothing about the level."""


def two_phase(K: int = 3, perturbed: float = 0.6) -> Component:
    return Component(
        start_mean=3.0,
        start_sd=FLAT,
        drift_mean=np.full(K, 0.3),
        drift_sd=np.full(K, 0.3),
        rise_mean=np.full(K, 0.5),
        rise_sd=np.full(K, 0.3),
        noise_sd=np.zeros(K + 1),
        turning=np.append(np.full(K, perturbed / K), 1 - perturbed),
    )


@pytest.mark.parametrize("recall", [True, False])
def test_regression_and_dual_bracket_the_exact_value(recall: bool) -> None:
    component, cost = two_phase(), 0.05
    exact = solve_belief(component, cost, recall)
    assert exact.converged
    problem = LayerProblem(ChangePointModel((component,), np.ones(1)), cost, recall)
    policy = fit_policy(problem, Polynomial(2), np.random.default_rng(0), 4_000)
    upper = estimate(policy.draw, 20_000, 1)
    lower = estimate(Dual(policy, 32).draw, 500, 2)
    assert upper.mean > exact.value - 1e-3 - 3.5 * upper.stderr
    assert lower.mean < exact.value + 1e-3 + 3.5 * lower.stderr
    assert upper.mean - lower.mean < 0.01 + 3.5 * math.hypot(upper.stderr, lower.stderr)
    # The negative control: with the wrong cost the same check fails.
    other = solve_belief(component, 2 * cost, recall).value
    assert lower.mean + 3.5 * lower.stderr < other


def test_one_step_is_an_integral() -> None:
    """With one step to take the value is the better of stopping and one more look."""
    component, cost = two_phase(K=1), 0.02
    exact = solve_belief(component, cost, tolerance=1e-3)
    rise, drift = stats.norm(-0.5, 0.3), stats.norm(0.3, 0.3)
    below = [integrate.quad(lambda d, law=law: d * law.pdf(d), -8, 0)[0] for law in (rise, drift)]
    gain = 0.6 * below[0] + 0.4 * below[1]
    value = final_excess(component) + min(0.0, cost + gain)
    assert exact.value == pytest.approx(value, abs=1e-3)
    without = solve_belief(component, cost, recall=False)
    step = -0.6 * 0.5 + 0.4 * 0.3
    assert without.value == pytest.approx(final_excess(component) + min(0.0, cost + step), abs=1e-4)


def test_properties_of_the_value() -> None:
    component = two_phase()
    values = [solve_belief(component, cost).value for cost in (0.0, 0.05, 0.2, 10.0)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(final_excess(component))  # too expensive to look at all
    assert solve_belief(component, 0.05, recall=False).value > values[1]
    assert final_excess(component) == pytest.approx(0.5 * 0.2 * (1 + 2 + 3))
    found = solve_belief(component, 0.05)
    assert (found.relative <= 0).all()
    assert (found.relative[:-1][found.stops] == 0).all()
    # A higher level above the best one never makes reading on more attractive.
    assert (np.diff(found.relative, axis=2) >= -1e-9).all()


def test_the_grid_is_refined_until_it_settles() -> None:
    component = two_phase(K=2)
    coarse = solve_belief(component, 0.05, tolerance=1.0)
    fine = solve_belief(component, 0.05, tolerance=2e-4)
    assert coarse.converged
    assert fine.converged
    assert len(fine.beliefs) > len(coarse.beliefs)
    assert abs(fine.value - coarse.value) < 2 * coarse.moved
    assert not solve_belief(component, 0.05, tolerance=1e-12, most=1).converged


def test_beliefs_are_those_of_the_model() -> None:
    """The recursion of the belief against the posterior of the change-point model."""
    component = two_phase()
    model = ChangePointModel((component,), np.ones(1))
    problem = LayerProblem(model, 0.0)
    x = problem.sample(np.random.default_rng(0), 200)
    belief = np.full(200, 1 - component.turning[-1])
    for t in range(3):
        column = 3 - t
        belief = advance(component, column, belief, x[:, t + 1] - x[:, t])
        known = problem.filter.known(x[:, : t + 2]).turning[:, : column - 1].sum(axis=1)
        assert belief == pytest.approx(known, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "cost", "words"),
    [
        ({"noise_sd": np.full(4, 0.1)}, 0.1, "sufficient"),
        ({"rise_sd": np.zeros(3)}, 0.1, "positive"),
        ({}, -0.1, "cost"),
        ({}, float("nan"), "cost"),
    ],
)
def test_bad_input(change: dict[str, np.ndarray], cost: float, words: str) -> None:
    with pytest.raises(UserError, match=words):
        solve_belief(replace(two_phase(), **change), cost)
