"""Profile likelihoods: against a maximum found otherwise, on parabolas, flat ones and two tops."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import Bounds, minimize

from stopping.changepoint import ChangePointModel
from stopping.changepoint.estimate import Estimate, fit_near
from stopping.changepoint.inference import Parameter, Status, Uncertainty, uncertainty
from stopping.changepoint.layout import Layout
from stopping.changepoint.objective import Objective
from stopping.changepoint.profile_likelihood import Held, profiled, reached
from stopping.types import FloatArray
from tests.stopping.changepoint.models import one_class

NEEDED = 2.0


def estimated(prompts: int, tokens: int, seed: int = 0) -> tuple[Estimate, Uncertainty, FloatArray]:
    """Tokens of a known model, fitted from the truth."""
    model: ChangePointModel = one_class()
    x = model.sample(np.random.default_rng(seed), prompts * tokens).x
    layout = Layout(model.w, 1, model.scale, float(x.std()), model.components[0].types)
    found = fit_near(x, layout, layout.vector(model))
    return found, uncertainty(found, x, np.repeat(np.arange(prompts), tokens)), x


def otherwise(estimate: Estimate, x: FloatArray, place: int, value: float) -> float:
    """Log-likelihood lost where one entry is held, by L-BFGS-B with equal bounds."""
    layout = estimate.layout
    objective = Objective(layout, layout.scale.of(x), np.ones(len(x)))
    low, high = layout.bounds()
    start = estimate.theta.copy()
    start[place] = low[place] = high[place] = value

    def turned(theta: FloatArray) -> tuple[float, FloatArray]:
        height, slope = objective.value_and_gradient(theta)
        return -height, -slope

    options = {"maxiter": 1000, "ftol": 1e-13}
    best = minimize(turned, start, jac=True, bounds=Bounds(low, high), options=options)
    return (objective.value_and_gradient(estimate.theta)[0] + best.fun) * len(x)


def named(errors: Uncertainty, name: str, index: int) -> Parameter:
    return next(p for p in errors.parameters if (p.name, p.index) == (name, index))


@pytest.mark.parametrize(("name", "index"), [("drift_mean", 1), ("noise_sd", 0), ("rise_sd", 2)])
def test_what_is_lost_is_what_another_optimiser_loses(name: str, index: int) -> None:
    estimate, errors, x = estimated(30, 20)
    parameter = named(errors, name, index)
    objective = Objective(estimate.layout, estimate.layout.scale.of(x), np.ones(len(x)))
    held = Held(objective, estimate.theta, errors.by_information, parameter)
    for end in (parameter.interval.low, parameter.interval.high):
        place = estimate.layout.names().index((0, name, index))
        expected = otherwise(estimate, x, place, end)
        assert held.lost(held.working(end)) == pytest.approx(expected, abs=0.05)


def test_a_probability_is_held_where_it_is_said() -> None:
    estimate, errors, x = estimated(30, 20)
    objective = Objective(estimate.layout, x, np.ones(len(x)))
    for parameter in (p for p in errors.parameters if p.name == "turning"):
        held = Held(objective, estimate.theta, errors.by_information, parameter)
        assert held.reported_at(estimate.theta) == pytest.approx(parameter.estimate)
        moved = held._at(estimate.theta, held.working(0.3))
        assert held.reported_at(moved) == pytest.approx(0.3)
        assert held.lost(held.working(parameter.estimate)) == pytest.approx(0.0, abs=0.05)


def test_no_interval_gets_shorter_and_a_clear_one_stays() -> None:
    estimate, errors, x = estimated(60, 40)
    after = profiled(estimate, errors, errors.parameters, x)
    clear = 0
    for before, now in zip(errors.parameters, after, strict=True):
        if now.status is not Status.IDENTIFIED:
            continue
        assert now.interval.low <= before.interval.low
        assert now.interval.high >= before.interval.high
        clear += now.interval.high - now.interval.low < 1.15 * (
            before.interval.high - before.interval.low
        )
    assert clear > 10


def test_where_the_profile_ends() -> None:
    # A parabola that falls by 2 at a distance of 1, and one that is wider than its curvature says.
    assert reached(lambda t: 2 * t**2, 0.0, 1.0, NEEDED) == 1.0
    wider = reached(lambda t: 0.5 * t**2, 0.0, 1.0, NEEDED)
    assert wider == pytest.approx(2.0, rel=0.1)
    assert reached(lambda t: 0.5 * t**2, 0.0, -1.0, NEEDED) == pytest.approx(-2.0, rel=0.1)


@pytest.mark.parametrize(
    "lost",
    [
        lambda t: 0.1 * (1 - np.exp(-(t**2))),  # flat beyond a dent
        lambda t: 2 * t**2 * (1 - np.exp(-((t - 2) ** 2) / 0.1)),  # another top at twice as far
        lambda t: -t,  # a higher one
    ],
)
def test_a_flat_profile_and_another_top_are_not_identified(lost: Callable[[float], float]) -> None:
    assert reached(lost, 0.0, 1.0, NEEDED) is None
