"""The robustness table: what is provable survives, what fails is seen to fail, and by how much."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from stopping.errors import UserError
from stopping.model.misspecification import (
    AutoregressiveNoise,
    LaplaceNoise,
    SteppedNoise,
    StudentNoise,
)
from stopping.model.noise import AbstractNoise, GaussianNoise, UniformNoise
from stopping.model.scenarios import LAYERS, Bound, Scenario, scenarios
from stopping.simulation.measures import cliff_height
from stopping.simulation.robustness import Basis, Outcome, Row, robustness_table
from stopping.theory.exact import stopping_distribution
from stopping.types import FloatArray

TOKENS = 1 << 16


@pytest.fixture(scope="module")
def table() -> tuple[Row, ...]:
    return robustness_table(seed=11, n=TOKENS)


def rows(table: tuple[Row, ...], parameter: str, shape: str) -> dict[Bound, Row]:
    return {row.bound: row for row in table if (row.parameter, row.shape) == (parameter, shape)}


# Noise -------------------------------------------------------------------------------------------


def draw(noise: AbstractNoise, n: int = 100_000, layers: int = 5) -> FloatArray:
    rng = np.random.default_rng(3)
    return noise.sample(rng, np.zeros((n, layers)), np.zeros(n, dtype=np.intp), 0)


@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.0, 0.6])
def test_autoregression_keeps_its_marginals_and_decays(rho: float) -> None:
    for marginal, law in (
        (GaussianNoise(0.5), stats.norm(scale=0.5)),
        (UniformNoise(0.5), stats.uniform(-0.5, 1.0)),
    ):
        noise = AutoregressiveNoise(marginal, rho)
        eps = draw(noise)
        for layer in range(5):
            assert stats.kstest(law.cdf(eps[:, layer]), "uniform").pvalue > 1e-6
        np.testing.assert_array_equal(noise.bound(5), marginal.bound(5))
        np.testing.assert_array_equal(noise.sigma(5), marginal.sigma(5))
    z = draw(AutoregressiveNoise(GaussianNoise(1.0), rho))
    found = np.corrcoef(z, rowvar=False)
    lags = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    # A correlation has standard error of at most 1 / sqrt(n); six of these.
    assert np.abs(found - np.power(float(rho), lags)).max() < 6 / math.sqrt(len(z))


def test_autoregression_of_uniform_noise_stays_within_bounds() -> None:
    eps = draw(AutoregressiveNoise(UniformNoise((1.0, 2.0, 0.5, 1.0, 0.0)), 0.95))
    assert (np.abs(eps) <= [1.0, 2.0, 0.5, 1.0, 0.0]).all()
    with pytest.raises(UserError, match="rho"):
        AutoregressiveNoise(UniformNoise(1.0), 1.0)


def test_heavy_tails_have_the_stated_deviation() -> None:
    laplace = LaplaceNoise((0.5, 1.0, 0.0, 2.0, 1.0))
    n = 100_000
    for layer, scale in enumerate(laplace.scale):  # type: ignore[arg-type]
        eps = draw(laplace)[:, layer]
        # The variance of a Laplace law's square is 20 scale^4.
        assert abs(np.mean(eps**2) - 2 * scale**2) <= 6 * scale**2 * math.sqrt(20 / n)
    eps = draw(StudentNoise(1.0, 5.0))
    assert stats.kstest(stats.t(5, scale=math.sqrt(0.6)).cdf(eps[:, 0]), "uniform").pvalue > 1e-6
    assert stats.t(5, scale=math.sqrt(0.6)).std() == pytest.approx(1.0)
    with pytest.raises(UserError, match="freedom"):
        StudentNoise(1.0, 2.0)


def test_no_sub_gaussian_parameter_without_sub_gaussian_tails() -> None:
    for noise in (LaplaceNoise((1.0, 0.0)), StudentNoise((1.0, 0.0))):
        assert noise.sigma(2).tolist() == [math.inf, 0.0]
        assert noise.bound(2).tolist() == [math.inf, 0.0]


def test_step() -> None:
    noise = SteppedNoise(UniformNoise(0.25), 3, -1.5)
    eps = draw(noise)
    assert (np.abs(eps[:, :3]) <= 0.25).all()
    assert (np.abs(eps[:, 3:] + 1.5) <= 0.25).all()
    assert noise.bound(5).tolist() == [0.25, 0.25, 0.25, 1.75, 1.75]
    with pytest.raises(UserError, match="step"):
        SteppedNoise(UniformNoise(1.0), 5, 1.0).shift(5)


# The table ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_theorems_survive(table: tuple[Row, ...]) -> None:
    contradicted = [
        row for row in table if row.basis is Basis.THEOREM and row.outcome is not Outcome.SURVIVES
    ]
    assert contradicted == []


def test_nothing_fails_where_nothing_is_broken(table: tuple[Row, ...]) -> None:
    intact = [row for row in table if row.broken == "nothing"]
    assert len(intact) == 14
    assert {row.outcome for row in intact} == {Outcome.SURVIVES}
    assert {row.basis for row in intact} == {Basis.THEOREM}


# What must be seen to fail, each by far more than the simulation's error.
FAILURES = [
    ("first rise 0.25 x 2 eps_max", "valley", {Bound.CONTAINMENT}),
    ("last rise 0.9 x 2 eps_max", "valley", {Bound.CONTAINMENT, Bound.EXCESS}),
    (
        "V* 2 below the window",
        "valley",
        {Bound.CONTAINMENT, Bound.EXCESS, Bound.STOP_ABOVE},
    ),
    ("normal, rho = -0.9", "cliff", {Bound.EXCESS, Bound.FINAL_LAYER, Bound.TAIL}),
    (
        "normal, rho = -0.9",
        "valley",
        {Bound.CONTAINMENT, Bound.EXCESS, Bound.STOP_ABOVE},
    ),
    ("uniform, rho = 0.5", "flat", {Bound.RUN_2, Bound.RUN_3, Bound.OVERSHOOT}),
    ("normal, rho = 0.9", "flat", {Bound.RUN_2, Bound.RUN_3, Bound.OVERSHOOT}),
    ("eps_max x 3 per layer", "flat", {Bound.RUN_2, Bound.RUN_3, Bound.OVERSHOOT}),
    ("eps_max 1 and 0.2 in turn", "flat", {Bound.RUN_2, Bound.OVERSHOOT}),
    ("step +1 eps_max at V* = L", "cliff", {Bound.EXCESS, Bound.FINAL_LAYER, Bound.TAIL}),
    (
        "step +3 eps_max at V* = L",
        "cliff",
        {Bound.EXCESS, Bound.FINAL_LAYER, Bound.TAIL, Bound.MEAN},
    ),
    ("step +1 eps_max at V* = L", "flat", {Bound.RUN_1, Bound.RUN_2, Bound.RUN_3, Bound.OVERSHOOT}),
    (
        "step -1.5 eps_max beyond V*",
        "valley",
        {Bound.CONTAINMENT, Bound.EXCESS, Bound.STOP_ABOVE},
    ),
    ("Student, 3 degrees", "cliff", {Bound.EXCESS, Bound.FINAL_LAYER, Bound.TAIL}),
    ("Laplace", "cliff", {Bound.EXCESS, Bound.FINAL_LAYER, Bound.TAIL}),
    ("Laplace", "flat", set[Bound]()),
    ("step -1 eps_max at V* = L", "flat", set[Bound]()),
    ("uniform, rho = -0.9", "flat", set[Bound]()),
    ("uniform, rho = -0.9", "valley", set[Bound]()),
]


@pytest.mark.parametrize(("parameter", "shape", "failing"), FAILURES)
def test_exactly_these_fail(
    table: tuple[Row, ...], parameter: str, shape: str, failing: set[Bound]
) -> None:
    found = rows(table, parameter, shape)
    assert found
    assert {bound for bound, row in found.items() if row.outcome is Outcome.FAILS} == failing
    for bound in failing:
        assert found[bound].estimate > found[bound].limit
        assert found[bound].basis is Basis.SIMULATION


def test_a_sure_bound_that_no_draw_breaks_is_not_called_sure(table: tuple[Row, ...]) -> None:
    """Normal noise of correlation 0.9 breaks T1 too rarely to be seen, but it is unbounded."""
    row = rows(table, "normal, rho = 0.9", "valley")[Bound.CONTAINMENT]
    assert row.estimate == 0.0
    assert row.outcome is Outcome.UNDECIDED


def test_greatest_draw_measures_the_overshoot(table: tuple[Row, ...]) -> None:
    kept = rows(table, "uniform", "valley")
    assert kept[Bound.EXCESS].greatest <= 2.0
    last = rows(table, "last rise 0.9 x 2 eps_max", "valley")[Bound.EXCESS]
    # The search stays at L, two full rises and the weak one above V*.
    assert last.greatest == pytest.approx(2.2 + 2.2 + 1.8)
    ranged = rows(table, "step +1 eps_max at V* = L", "cliff")
    assert 2.0 < ranged[Bound.EXCESS_RANGE].greatest <= 3.0


@pytest.mark.parametrize("rho", [-0.9, -0.5, 0.5, 0.9])
def test_run_of_two_under_autoregression(table: tuple[Row, ...], rho: float) -> None:
    """The orthant probability of two successive differences, and not that of i.i.d. noise."""
    exact = 0.25 - math.asin((1 - rho) / 2) / (2 * math.pi)
    for marginal in ("uniform", "normal"):
        row = rows(table, f"{marginal}, rho = {rho:g}", "flat")[Bound.RUN_2]
        # Five standard errors, eight comparisons: a false alarm in two hundred thousand.
        assert abs(row.estimate - exact) < 5 * row.stderr
        assert abs(row.estimate - 1 / 6) > 5 * row.stderr
        assert (row.outcome is Outcome.FAILS) == (rho > 0)


def exact_value(scenario: Scenario, bound: Bound) -> float | None:
    """The quantity of a row under independent noise with a density, by T12."""
    paths = scenario.process.sample(np.random.default_rng(0), 1)
    law = stopping_distribution(paths.G[0], scenario.process.noise, scenario.process.K)
    turning = scenario.turning
    G = paths.G[0]
    excess = G - G[turning]
    values = {
        Bound.CONTAINMENT: law.stop_above(turning),
        Bound.STOP_ABOVE: law.stop_above(turning),
        Bound.EXCESS: law.probability[excess > 2 * scenario.eps_max + 1e-9].sum(),
        Bound.FINAL_LAYER: law.probability[G - G[-1] > 2 * scenario.eps_max + 1e-9].sum(),
        Bound.MEAN: law.contained_excess(turning),
        Bound.OVERSHOOT: law.expected_overshoot(turning),
        Bound.TAIL: law.probability[:turning] @ (excess[:turning] > cliff_height(scenario)),
        Bound.RUN_1: law.probability[:turning].sum(),
        Bound.RUN_2: law.probability[: turning - 1].sum(),
        Bound.RUN_3: law.probability[: turning - 2].sum(),
    }
    return float(values[bound])


def test_table_agrees_with_the_exact_distribution(table: tuple[Row, ...]) -> None:
    """Every row of a world with independent noise and a density, against T12."""
    solvable = {
        (scenario.parameter, scenario.shape): scenario
        for scenario in scenarios()
        if isinstance(scenario.process.noise, UniformNoise | GaussianNoise | LaplaceNoise)
    }
    compared, moved = 0, 0
    for row in table:
        scenario = solvable.get((row.parameter, row.shape))
        if scenario is None:
            continue
        exact = exact_value(scenario, row.bound)
        assert exact is not None
        # Normal approximation to counts that may be small: six standard errors and six tokens.
        slack = 6 * row.stderr + 6 * max(1.0, row.greatest) / row.n
        assert abs(row.estimate - exact) <= slack, (row, exact)
        compared += 1
        moved += abs(row.estimate - 1.1 * exact) > slack
    assert compared > 100
    # The negative control, ten per cent off, is seen wherever the quantity is not tiny.
    assert moved > 40


def test_a_false_theorem_would_be_seen() -> None:
    """Negative control: T11 called proved under positive correlation, T2 under a weak last rise."""
    wrong = [
        replace(scenario, provable=frozenset(Bound))
        for scenario in scenarios()
        if scenario.parameter in ("normal, rho = 0.5", "last rise 0.5 x 2 eps_max")
    ]
    found = robustness_table(seed=5, n=1 << 15, asked=wrong)
    contradicted = {row.bound for row in found if row.outcome is not Outcome.SURVIVES}
    assert {Bound.EXCESS, Bound.RUN_2, Bound.RUN_3, Bound.OVERSHOOT} <= contradicted


def test_reproducible_and_seeded() -> None:
    some = scenarios()[:2]
    first, second = (robustness_table(seed=1, n=40_000, asked=some) for _ in "ab")
    assert first == second
    other = robustness_table(seed=2, n=40_000, asked=some)
    assert [row.estimate for row in first] != [row.estimate for row in other]
    assert {row.n for row in first} == {40_000}
    assert {row.seed for row in first} == {1}


def test_scenarios_are_distinct_worlds() -> None:
    every = scenarios()
    names = {(scenario.broken, scenario.parameter, scenario.shape) for scenario in every}
    assert len(names) == len(every)
    for scenario in every:
        paths = scenario.process.sample(np.random.default_rng(0), 50)
        assert (paths.turning == scenario.turning).all()
        assert paths.layers == LAYERS
        assert not np.ptp(paths.G, axis=0).any()


def test_bad_input() -> None:
    with pytest.raises(UserError, match="two tokens"):
        robustness_table(seed=1, n=1)
