"""S2 on problems with vectors and long memories: brackets around what others have published."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from stopping.errors import UserError
from stopping.optimal.bases import Polynomial, RandomNetwork, basis_from
from stopping.optimal.dual import Dual
from stopping.optimal.learners import LeastSquares
from stopping.optimal.problem import hermite, prolonged
from stopping.optimal.published import FRACTIONAL, MAX_CALL, Fractional, MaxCall
from stopping.optimal.regression import Policy, fit_policy
from stopping.simulation.montecarlo import estimate
from stopping.types import FloatArray
from tests.stopping.optimal.puts import Put, PutProblem

ERRORS = 4.0
"""Standard errors: each check errs with probability 6e-5."""
LOW, HIGH = MAX_CALL[2, 100]


@pytest.fixture(scope="module")
def two_stocks() -> Policy:
    return fit_policy(
        MaxCall(2), Polynomial(3, 2), np.random.default_rng(1), 6_000, control=Polynomial(2, 2)
    )


def test_max_call_is_bracketed(two_stocks: Policy) -> None:
    """A row of the table, small: each bound on its side, and less than 1 % apart."""
    lower, upper = estimate(two_stocks.draw, 10_000, 2), estimate(Dual(two_stocks, 16).draw, 300, 3)
    assert -lower.mean < HIGH + ERRORS * lower.stderr
    assert -upper.mean > LOW - ERRORS * upper.stderr
    noise = ERRORS * math.hypot(lower.stderr, upper.stderr)
    assert lower.mean - upper.mean < 0.01 * LOW + noise


def test_the_controls_martingale_alone_is_a_bound(two_stocks: Policy) -> None:
    """The cheapest budget nests nothing: valid, and no further off than 6 %."""
    upper = estimate(Dual(two_stocks, 0, 1).draw, 2_000, 3)
    assert LOW - ERRORS * upper.stderr < -upper.mean < 1.06 * HIGH


@dataclass(frozen=True)
class Peeking(MaxCall):
    """The negative control: the "martingale" gains where the next step loses."""

    def innovation(self, history: FloatArray) -> FloatArray:
        normal = super().innovation(history)
        return np.maximum(normal, 0.0)


def test_a_martingale_that_peeks_is_rejected(two_stocks: Policy) -> None:
    """Positive parts have positive means: the upper bound falls below the published interval."""
    broken = estimate(Dual(replace(two_stocks, problem=Peeking(2)), 0, 1).draw, 2_000, 3)
    assert -broken.mean < LOW - ERRORS * broken.stderr


def test_the_control_leaves_the_mean_and_takes_the_noise(two_stocks: Policy) -> None:
    x = two_stocks.problem.sample(np.random.default_rng(5), 10_000)
    plain, controlled = two_stocks.run(x)[1], two_stocks.draw(np.random.default_rng(5), 10_000)
    difference = plain - controlled
    assert abs(difference.mean()) < ERRORS * difference.std() / math.sqrt(len(x))
    assert controlled.std() < plain.std() / 3


def test_european_value_against_its_expectation() -> None:
    problem, n = MaxCall(3), 200_000
    x = problem.sample(np.random.default_rng(0), n)
    payoff = math.exp(-0.15) * np.maximum(np.exp(x[:, -1].max(axis=1)) - 100.0, 0.0)
    value = problem.european(x[:1, 0], 3.0)[0]
    assert abs(payoff.mean() - value) < ERRORS * payoff.std() / math.sqrt(n)
    # The distance of what is integrated from a far finer rule.
    fine = np.linspace(math.log(100.0), math.log(1000.0), 200_001)
    mean, spread = math.log(100.0) - 0.07 * 3.0, 0.2 * math.sqrt(3.0)
    below = np.array([0.5 * (1 + math.erf((u - mean) / spread / math.sqrt(2))) for u in fine])
    exact = math.exp(-0.15) * np.trapezoid(np.exp(fine) * (1 - below**3), fine)
    assert value == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("hurst", FRACTIONAL)
def test_fractional_paths_have_their_covariance(hurst: float) -> None:
    problem, n = Fractional(hurst, 5), 40_000
    x = problem.sample(np.random.default_rng(0), n)
    times = np.arange(1, 6) / 5
    power = times ** (2 * hurst)
    distance = np.abs(times[:, None] - times) ** (2 * hurst)
    covariance = (power[:, None] + power - distance) / 2
    assert np.cov(x[:, 1:].T) == pytest.approx(covariance, abs=5 * math.sqrt(2 / n))


@pytest.mark.parametrize("problem", [MaxCall(3), Fractional(0.3, 6)])
def test_innovations_are_what_drove_the_step(problem: MaxCall | Fractional) -> None:
    """Standard normal given the history, and the step takes them back."""
    history = problem.sample(np.random.default_rng(0), 1)[:, :4]
    further = prolonged(problem, np.random.default_rng(1), history, 4096)
    assert further.shape == (4096, 5, *history.shape[2:])
    normal = problem.innovation(further)
    moments = hermite(normal)
    gram = moments.T @ moments / len(moments)
    assert np.abs(moments.mean(axis=0)).max() < 0.01
    assert gram == pytest.approx(np.eye(moments.shape[1]), abs=0.05)


@pytest.mark.parametrize(("hurst", "dates"), [(0.5, 10), (0.1, 6), (0.9, 6)])
def test_fractional_motion_is_bracketed(hurst: float, dates: int) -> None:
    """At 1/2 a martingale, worth nothing; elsewhere the past helps, and the bounds agree."""
    policy = fit_policy(
        Fractional(hurst, dates),
        Polynomial(2, 2),
        np.random.default_rng(0),
        4_000,
        control=Polynomial(1, 1),
    )
    lower, upper = estimate(policy.draw, 20_000, 1), estimate(Dual(policy, 16).draw, 400, 2)
    noise = ERRORS * math.hypot(lower.stderr, upper.stderr)
    assert -noise < lower.mean - upper.mean < 0.05 + noise
    if hurst == 0.5:
        assert -lower.mean < ERRORS * lower.stderr
        assert -upper.mean > -ERRORS * upper.stderr
    else:
        assert -lower.mean > 0.05


def test_random_networks_serve_as_a_basis() -> None:
    basis = RandomNetwork(24, 3)
    assert basis_from(basis.settings()) == basis
    policy = fit_policy(
        MaxCall(2), basis, np.random.default_rng(1), 4_000, control=Polynomial(1, 1)
    )
    lower, upper = estimate(policy.draw, 10_000, 2), estimate(Dual(policy, 16).draw, 200, 3)
    assert 0.98 * LOW < -lower.mean < HIGH + ERRORS * lower.stderr
    assert -upper.mean > LOW - ERRORS * upper.stderr


def test_streamed_least_squares_are_least_squares() -> None:
    def solved(columns: FloatArray) -> FloatArray:
        sums = LeastSquares()
        for rows in (slice(0, 4_000), slice(4_000, None)):
            sums.add(columns[rows], target[rows])
        return sums.solve()(columns)

    rng = np.random.default_rng(0)
    columns, target = rng.normal(size=(9_000, 5)), rng.normal(size=9_000)
    expected = columns @ np.linalg.lstsq(columns, target)[0]
    assert solved(columns) == pytest.approx(expected, abs=1e-8)
    doubled = np.column_stack([columns, columns, np.zeros(9_000)])
    assert solved(doubled) == pytest.approx(expected, abs=1e-6)


BAD: dict[str, Callable[[], object]] = {
    "stock": lambda: MaxCall(0),
    "prices": lambda: MaxCall(2, spot=math.nan),
    "fractional": lambda: Fractional(1.0),
    "width": lambda: RandomNetwork(0),
    "no martingales": lambda: fit_policy(
        PutProblem(Put(36.0), 3),
        Polynomial(1),
        np.random.default_rng(0),
        100,
        control=Polynomial(1),
    ),
    "continuations": lambda: Dual(
        fit_policy(PutProblem(Put(36.0), 3), Polynomial(1), np.random.default_rng(0), 100), 0
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message: str) -> None:
    with pytest.raises(UserError, match=message):
        BAD[message]()
