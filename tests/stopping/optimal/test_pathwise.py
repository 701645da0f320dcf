"""The martingale that the bound chooses: one still, and tighter where a regression is loose."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from stopping.optimal.bases import Polynomial
from stopping.optimal.budget import dual_bound
from stopping.optimal.dual import Dual
from stopping.optimal.pathwise import Scaled, optimised
from stopping.optimal.published import MAX_CALL, MaxCall
from stopping.optimal.regression import Policy, fit_policy
from stopping.simulation.montecarlo import estimate
from stopping.types import FloatArray

ERRORS = 4.0
"""Standard errors: each check errs with probability 6e-5."""
LOW, HIGH = MAX_CALL[2, 100]


@pytest.fixture(scope="module")
def regressed() -> Policy:
    return fit_policy(
        MaxCall(2), Polynomial(2, 2), np.random.default_rng(1), 5_000, control=Polynomial(1, 1)
    )


@pytest.fixture(scope="module")
def tuned(regressed: Policy) -> Policy:
    found = optimised(regressed, np.random.default_rng(2), 4_000)
    assert found is not None
    return found


def drifts(policy: Policy, n: int = 20_000) -> FloatArray:
    """Standard errors between 0 and the mean of each increment, plain and times what is known."""
    problem = policy.problem
    x = problem.sample(np.random.default_rng(3), n)
    view = problem.look(x[:, :1])
    found = []
    for t in range(problem.horizon):
        history = x[:, : t + 2]
        before, view = view, problem.look(history)
        increment = policy.increment(t, before, view, history)
        for known in (np.ones(n), before.features[:, 0], before.loss):
            product = increment * known
            found.append(product.mean() / (product.std() / math.sqrt(n)))
    return np.array(found)


@dataclass(frozen=True, eq=False)
class Clairvoyant(Scaled):
    """The negative control: a factor that knows how the step ends."""

    def __call__(self, features: FloatArray, moments: FloatArray) -> FloatArray:
        return super().__call__(features, moments) * (1 + 0.2 * np.sign(moments[:, 0]))


@pytest.mark.slow
def test_it_is_a_martingale_and_a_factor_that_looks_ahead_is_not(tuned: Policy) -> None:
    assert np.abs(drifts(tuned)).max() < ERRORS + 1
    ahead = tuple(
        replace(stage, control=Clairvoyant(**vars(stage.control))) for stage in tuned.stages
    )
    assert np.abs(drifts(replace(tuned, stages=ahead))).max() > 2 * ERRORS


@pytest.mark.slow
def test_it_bounds_the_value_and_is_tighter_than_the_regression(
    regressed: Policy, tuned: Policy
) -> None:
    of_regression, of_itself = (
        estimate(Dual(policy, 0).draw, 20_000, 4) for policy in (regressed, tuned)
    )
    assert -of_itself.mean > LOW - ERRORS * of_itself.stderr
    error = math.hypot(of_regression.stderr, of_itself.stderr)
    assert of_itself.mean - of_regression.mean > ERRORS * error
    # The rule is the regression's own.
    x = MaxCall(2).sample(np.random.default_rng(5), 500)
    assert (tuned.run(x)[0] == regressed.run(x)[0]).all()


def test_few_paths_are_not_fitted_to_their_own_noise(regressed: Policy) -> None:
    assert optimised(regressed, np.random.default_rng(0), 50) is None


@pytest.mark.slow
def test_the_budget_has_it_among_its_candidates(regressed: Policy) -> None:
    poor, rich = dual_bound(regressed, 10_000, 1), dual_bound(regressed, 60_000, 1)
    assert not any(pilot.pathwise for pilot in poor.pilots)
    assert [pilot.inner for pilot in rich.pilots if pilot.pathwise] == [0]
    assert rich == dual_bound(regressed, 60_000, 1)
    steps = rich.estimate.n * MaxCall(2).horizon * (1 + rich.inner)
    assert 0.7 * rich.budget < steps < rich.budget
    assert -rich.estimate.mean > LOW - ERRORS * rich.estimate.stderr
