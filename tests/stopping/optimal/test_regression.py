"""S2: the American put of Longstaff and Schwartz, bases, and both bounds around exact values."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from stopping.errors import UserError
from stopping.optimal.bases import Laguerre, Polynomial, basis_from
from stopping.optimal.chain import solve
from stopping.optimal.dual import Dual
from stopping.optimal.problem import AbstractProblem, View, prolonged
from stopping.optimal.regression import Policy, fit_policy
from stopping.simulation.montecarlo import Estimate, estimate
from stopping.types import FloatArray
from tests.stopping.optimal.puts import Put, PutProblem, binomial_put, european_put

TABLE_1 = (
    # Longstaff and Schwartz (2001), table 1: spot, volatility, years, simulated value, its s.e.
    *((36, 0.2, 1, 4.472, 0.010), (36, 0.2, 2, 4.821, 0.012)),
    *((36, 0.4, 1, 7.091, 0.020), (36, 0.4, 2, 8.488, 0.024)),
    *((38, 0.2, 1, 3.244, 0.009), (38, 0.2, 2, 3.735, 0.011)),
    *((38, 0.4, 1, 6.139, 0.019), (38, 0.4, 2, 7.669, 0.022)),
    *((40, 0.2, 1, 2.313, 0.009), (40, 0.2, 2, 2.879, 0.010)),
    *((40, 0.4, 1, 5.308, 0.018), (40, 0.4, 2, 6.921, 0.022)),
    *((42, 0.2, 1, 1.617, 0.007), (42, 0.2, 2, 2.206, 0.010)),
    *((42, 0.4, 1, 4.588, 0.017), (42, 0.4, 2, 6.243, 0.021)),
    *((44, 0.2, 1, 1.118, 0.007), (44, 0.2, 2, 1.675, 0.009)),
    *((44, 0.4, 1, 3.957, 0.017), (44, 0.4, 2, 5.622, 0.021)),
)
# Two errors for twenty rows, each beyond 3.5 standard errors with probability 5e-4.
ERRORS = 3.5


@dataclass(frozen=True)
class RuleComparison:
    exact: float
    lower: Estimate
    upper: Estimate


@pytest.fixture(scope="module")
def hardest() -> RuleComparison:
    """The first row in full: exact, by regression on fresh paths, and by the dual; as losses."""
    put = Put(36.0)
    policy = fit_policy(
        PutProblem(put, 50, european=True), Laguerre(3), np.random.default_rng(3), 10_000
    )
    return RuleComparison(
        solve(binomial_put(put, 50, 20)).value,
        estimate(Dual(policy, 32).draw, 300, 5),
        estimate(policy.draw, 20_000, 4),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("spot", "volatility", "years", "published", "stderr"), TABLE_1)
def test_table_1_is_the_trees(
    spot: float, volatility: float, years: float, published: float, stderr: float
) -> None:
    """The exact value with fifty dates a year lies within the published standard errors."""
    put = Put(spot, volatility=volatility, years=years)
    exact = -solve(binomial_put(put, 50 * int(years), 4)).value
    assert abs(exact - published) < ERRORS * stderr


@pytest.mark.slow
@pytest.mark.parametrize("row", range(len(TABLE_1)))
def test_table_1_by_regression(row: int) -> None:
    """As in the paper, Laguerre basis, without the European put: within the errors."""
    spot, volatility, years, published, stderr = TABLE_1[row]
    put = Put(spot, volatility=volatility, years=years)
    problem = PutProblem(put, 50 * int(years))
    policy = fit_policy(problem, Laguerre(3), np.random.default_rng(row), 8_000)
    found = estimate(policy.draw, 8_000, row)
    assert abs(-found.mean - published) < ERRORS * math.hypot(found.stderr, stderr)


def test_both_bounds_bracket_the_exact_value(hardest: RuleComparison) -> None:
    """A loss: the rule's mean is at least the value, the dual's at most."""
    assert hardest.upper.mean > hardest.exact - ERRORS * hardest.upper.stderr
    assert hardest.lower.mean < hardest.exact + ERRORS * hardest.lower.stderr
    assert hardest.upper.mean - hardest.lower.mean < 0.02 * abs(
        hardest.exact
    ) + ERRORS * math.hypot(hardest.upper.stderr, hardest.lower.stderr)


def test_a_rule_that_looks_ahead_breaks_the_bracket() -> None:
    """The negative control: stopping at the best date in hindsight is no stopping time."""
    problem = PutProblem(Put(36.0), 20)
    x = problem.sample(np.random.default_rng(0), 4_000)
    hindsight = np.min([problem.look(x[:, : t + 1]).loss for t in range(21)], axis=0)
    exact = solve(binomial_put(Put(36.0), 20, 20)).value
    assert hindsight.mean() + 5 * hindsight.std() / math.sqrt(len(x)) < exact - 1


@dataclass(frozen=True)
class Skewed(AbstractProblem):
    """The put, but its continuations are drawn with a drift that is not the paths'."""

    true: PutProblem

    @property
    def horizon(self) -> int:
        return self.true.horizon

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        return self.true.sample(rng, n)

    def extend(self, uniform: FloatArray, history: FloatArray) -> FloatArray:
        price: FloatArray = 1.01 * self.true.extend(uniform, history)
        return price

    def look(self, history: FloatArray) -> View:
        return self.true.look(history)


def test_a_martingale_that_is_none_breaks_the_dual() -> None:
    """The negative control: a wrong compensator, and the "bound" lies above the value."""
    problem = PutProblem(Put(36.0), 20, european=True)
    policy = fit_policy(problem, Laguerre(3), np.random.default_rng(0), 4_000)
    exact = solve(binomial_put(Put(36.0), 20, 20)).value
    honest = estimate(Dual(policy, 32).draw, 300, 1)
    broken = estimate(Dual(replace(policy, problem=Skewed(problem)), 32).draw, 300, 1)
    assert honest.mean < exact + ERRORS * honest.stderr
    assert broken.mean > exact + ERRORS * broken.stderr


def test_a_poor_basis_still_gives_a_valid_bracket() -> None:
    problem = PutProblem(Put(36.0), 20, european=True)
    policy = fit_policy(problem, Polynomial(1, 1), np.random.default_rng(0), 2_000)
    exact = solve(binomial_put(Put(36.0), 20, 20)).value
    upper, lower = estimate(policy.draw, 8_000, 1), estimate(Dual(policy, 16).draw, 200, 1)
    assert upper.mean > exact - ERRORS * upper.stderr
    assert lower.mean < exact + ERRORS * lower.stderr


def test_decisions_are_adapted() -> None:
    """What comes after the stopping time never changes it, nor the loss."""
    problem = PutProblem(Put(36.0), 20)
    policy = fit_policy(problem, Laguerre(3), np.random.default_rng(0), 4_000)
    x = problem.sample(np.random.default_rng(1), 500)
    time, loss = policy.run(x)
    assert 0 < (time < 20).mean() < 1
    later = np.arange(21) > time[:, None]
    time_after, loss_after = policy.run(np.where(later, 1.0, x))
    assert (time_after == time).all()
    assert (loss_after == loss).all()


def test_continuations_have_the_law_of_the_next_step() -> None:
    problem = PutProblem(Put(36.0), 50)
    history = np.full((2000, 1), 36.0)
    further = prolonged(problem, np.random.default_rng(0), history, 8)
    assert further.shape == (16_000, 2)
    ratio = np.log(further[:, 1] / 36.0)
    step = 1 / 50
    assert ratio.mean() == pytest.approx((0.06 - 0.02) * step, abs=4 * 0.2 * step**0.5 / 126)
    assert ratio.std() == pytest.approx(0.2 * step**0.5, rel=0.03)


def test_results_do_not_depend_on_blocks_but_on_the_seed() -> None:
    policy = fit_policy(PutProblem(Put(36.0), 10), Laguerre(2), np.random.default_rng(0), 1_000)
    assert estimate(policy.draw, 500, 1) == estimate(policy.draw, 500, 1)
    assert estimate(policy.draw, 500, 1) != estimate(policy.draw, 500, 2)
    assert isinstance(policy, Policy)


def test_european_put_against_its_expectation() -> None:
    put, n = Put(40.0), 200_000
    normal = np.random.default_rng(0).standard_normal(n)
    price = 40.0 * np.exp((0.06 - 0.02) + 0.2 * normal)
    payoff = math.exp(-0.06) * put.payoff(price)
    value = european_put(put, np.array([40.0]), 1.0)[0]
    assert abs(payoff.mean() - value) < 4 * payoff.std() / math.sqrt(n)


def test_bases_are_what_they_say() -> None:
    z = np.array([[0.5, -1.0], [2.0, 3.0]])
    columns = Polynomial(3, 2).columns(z)
    expected = np.column_stack(
        [np.ones(2), z, z[:, :1] ** 2, z[:, :1] * z[:, 1:], z[:, 1:] ** 2, z**3]
    )
    assert columns == pytest.approx(expected)
    x = np.array([[0.5], [1.0], [1.5]])
    weighted = Laguerre(3).columns(x)
    weight = np.exp(-x[:, 0] / 2)
    assert weighted[:, 0] == pytest.approx(np.ones(3))
    assert weighted[:, 1] == pytest.approx(weight)
    assert weighted[:, 2] == pytest.approx(weight * (1 - x[:, 0]))
    assert weighted[:, 3] == pytest.approx(weight * (1 - 2 * x[:, 0] + x[:, 0] ** 2 / 2))
    for basis in (Polynomial(4, 3), Laguerre(5)):
        assert basis_from(basis.settings()) == basis


def test_a_feature_never_seen_does_not_explode() -> None:
    fitted = Polynomial(3, 2).fit(np.random.default_rng(0).normal(size=(100, 2)))
    assert np.abs(fitted(np.full((1, 2), 1e12))).max() <= 8.0**3


def test_constant_features_are_no_problem() -> None:
    fitted = Polynomial(2).fit(np.zeros((50, 3)))
    assert np.isfinite(fitted(np.zeros((5, 3)))).all()


def test_bad_input() -> None:
    with pytest.raises(UserError, match="paths"):
        fit_policy(PutProblem(Put(36.0), 5), Laguerre(3), np.random.default_rng(0), 20)
    with pytest.raises(UserError, match="degrees"):
        Polynomial(0)
    with pytest.raises(UserError, match="polynomial"):
        Laguerre(0)
    with pytest.raises(UserError, match="kinds are"):
        basis_from({"kind": "fourier"})
