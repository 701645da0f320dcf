"""T12 against closed forms, a second quadrature, and the simulator with the rules."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from stopping.errors import UserError
from stopping.model.densities import (
    Density,
    densities,
    laplace,
    mean_positive_difference,
    normal,
    standard_deviation,
    truncated_normal,
    uniform,
)
from stopping.model.misspecification import AutoregressiveNoise, LaplaceNoise
from stopping.model.noise import (
    AbstractNoise,
    AdversarialNoise,
    GaussianNoise,
    RademacherNoise,
    TruncatedNormalNoise,
    UniformNoise,
)
from stopping.model.process import Process
from stopping.rules import Search, Tolerance
from stopping.theory.exact import StoppingDistribution, flat_distribution, stopping_distribution
from stopping.types import FloatArray
from tests.stopping.theory.one_step import (
    gaussian_step,
    laplace_step,
    uniform_slope,
    uniform_step,
)

pytestmark = pytest.mark.numerical

# Sums of a few hundred terms below one in double precision.
ROUNDING = 1e-13

LAWS = {
    "uniform": uniform(0.7),
    "normal": normal(0.4),
    "laplace": laplace(0.3),
    "truncated": truncated_normal(0.5, 0.6),
    "logistic": Density.of(stats.logistic(scale=0.2)),
    "exponential": Density.of(stats.expon()),
    "gamma": Density.of(stats.gamma(2.5)),
    "cauchy": Density.of(stats.cauchy()),
    "triangular": Density.of(stats.triang(0.3), kinks=(0.3,)),
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
def test_flat_distribution_is_the_same_for_every_noise(law: Density) -> None:
    found = stopping_distribution(np.zeros(10), (law,) * 10)
    # A law given by quantiles leaves 2e-15 of its mass out of each layer.
    np.testing.assert_allclose(found.probability[::-1], flat_distribution(9), atol=ROUNDING, rtol=0)
    assert found.converged
    assert found.extra_projections == pytest.approx(sum(1 / np.cumprod(range(1, 10))), abs=1e-12)


def test_flat_law_sums_to_one_and_gives_the_bound_of_the_runs() -> None:
    law = flat_distribution(12)
    assert law.sum() == pytest.approx(1.0, abs=1e-15)
    assert law @ np.arange(13) == pytest.approx(np.e - 2, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0, 0.6), st.floats(0, 0.4), st.floats(0.2, 3), st.integers(1, 9), st.floats(-50, 50)
)
def test_slope_of_uniform_noise(
    fall: float, tau: float, eps_max: float, K: int, level: float
) -> None:
    """The densities' edges move from layer to layer, by the fall and by the tolerance."""
    G = level + fall * np.arange(12)[::-1]
    found = stopping_distribution(G, UniformNoise(eps_max), K, tau)
    exact = uniform_slope(np.arange(K + 1), fall + tau, eps_max)
    # G carries a rounding error of up to 1e-14 against a density of height 1 / (2 eps_max).
    np.testing.assert_allclose(found.reached[::-1][: K + 1], exact, atol=1e-12, rtol=0)
    assert not found.reached[: 11 - K].any()
    assert found.error < 1e-12


def test_slope_rejects_the_wrong_sign_of_the_tolerance() -> None:
    found = stopping_distribution(0.1 * np.arange(6)[::-1], UniformNoise(1.0), 5, tau=0.2)
    wrong = uniform_slope(np.arange(6), 0.1 - 0.2, 1.0)
    assert np.abs(found.reached[::-1] - wrong).max() > 0.05


STEPS: dict[str, tuple[AbstractNoise, Callable[[float], FloatArray]]] = {
    "uniform": (UniformNoise(0.5), lambda t: uniform_step(t, 0.5)),
    "normal": (GaussianNoise(0.5), lambda t: gaussian_step(t, 0.5)),
    "laplace": (LaplaceNoise(0.5), lambda t: laplace_step(t, 0.5)),
}


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("t", [-1.3, -0.9, -0.2, 0.0, 0.4, 0.99, 1.7])
def test_one_step(kind: str, t: float) -> None:
    noise, step = STEPS[kind]
    for tau in (0.0, 0.15):
        found = stopping_distribution([t, 0.0], noise, 1, tau)
        np.testing.assert_allclose(found.probability[0], step(t + tau), atol=ROUNDING, rtol=0)


def two_step_run(G: FloatArray, laws: tuple[Density, ...], tau: float) -> float:
    """P(x[0] < x[1] - tau, x[1] < x[2] - tau): one integral over the middle value, adaptively."""

    def integrand(y: float) -> float:
        middle, below, above = (np.array(y - centre) for centre in (G[1], G[0] + tau, G[2] - tau))
        return float(laws[1].pdf(middle) * laws[0].cdf(below) * (1.0 - laws[2].cdf(above)))

    cuts = sorted(
        {
            float(centre + edge)
            for centre, law in zip((G[0] + tau, G[1], G[2] - tau), laws, strict=True)
            for edge in law.edges
        }
    )
    pieces = (
        integrate.quad(integrand, a, b, epsabs=1e-14, epsrel=1e-12)[0] for a, b in pairwise(cuts)
    )
    return float(sum(pieces))


def test_unequal_layers_against_adaptive_quadrature() -> None:
    """Different laws and scales at each layer, wide next to narrow, with a tolerance."""
    rng = np.random.default_rng(12)
    pool = (
        uniform(1.0),
        uniform(0.01),
        normal(0.3),
        laplace(0.2),
        truncated_normal(0.5, 0.4),
        truncated_normal(5.0, 0.4),
        truncated_normal(0.02, 4.0),
    )
    for _ in range(25):
        laws = tuple(pool[i] for i in rng.integers(0, len(pool), 3))
        G, tau = rng.normal(0, 0.4, 3), float(rng.choice([0.0, 0.1]))
        found = stopping_distribution(G, laws, 2, tau)
        assert found.converged
        assert found.probability[0] == pytest.approx(two_step_run(G, laws, tau), abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(-100, 100), st.floats(0.1, 20))
def test_level_and_unit_do_not_matter(seed: int, level: float, unit: float) -> None:
    rng = np.random.default_rng(seed)
    G, tau = np.cumsum(rng.normal(0, 0.3, 7)), float(rng.exponential(0.1))
    scale = rng.uniform(0.2, 1.0, 7)
    found = stopping_distribution(G, UniformNoise(tuple(scale)), 5, tau)
    moved = stopping_distribution(
        unit * G + level, UniformNoise(tuple(unit * scale)), 5, unit * tau
    )
    np.testing.assert_allclose(found.probability, moved.probability, atol=1e-11, rtol=0)
    assert moved.expected_excess(4) == pytest.approx(unit * found.expected_excess(4), abs=1e-9)


def test_summaries_of_a_law_known_by_hand() -> None:
    """Three layers, window of two steps, flat below L - 1 and a fall of one step that is free."""
    law = StoppingDistribution(
        latent=np.array([3.0, 1.0, 2.0]),
        l_min=0,
        tau=0.0,
        probability=np.array([0.1, 0.6, 0.3]),
        reached=np.array([0.1, 0.7, 1.0]),
        error=0.0,
        tolerance=1e-9,
    )
    assert law.expected_excess(1) == pytest.approx(0.1 * 2 + 0.3 * 1)
    assert law.contained_excess(1) == pytest.approx(0.1 * 2)
    assert law.stop_above(1) == pytest.approx(0.3)
    assert law.expected_overshoot(1) == pytest.approx(0.1)
    assert law.extra_projections == pytest.approx(1.7)
    with pytest.raises(UserError, match="turning"):
        law.expected_excess(3)


@pytest.mark.parametrize("turning", [2, 4, 5])
def test_dominance_contains_surely(turning: int) -> None:
    """T1: no mass above V* when every rise exceeds 2 eps_max + tau, some when one does not."""
    G = np.abs(np.arange(7) - turning) * 1.0
    contained = stopping_distribution(G, UniformNoise(0.45), 6, tau=0.09)
    assert contained.stop_above(turning) < ROUNDING
    leaking = stopping_distribution(G, UniformNoise(0.45), 6, tau=0.11)
    assert leaking.stop_above(turning) > 1e-6


def test_reported_error_covers_a_hidden_kink() -> None:
    """A Laplace law that hides its kink between two nodes converges slowly: the error says so."""
    smooth = laplace(1.0)
    hidden = replace(smooth, edges=tuple(edge + 0.3 for edge in smooth.edges))
    for tolerance in (1e-3, 1e-5, 1e-14):
        found = stopping_distribution(np.zeros(5), (hidden,) * 5, tolerance=tolerance)
        true_error = np.abs(found.probability[::-1] - flat_distribution(4)).max()
        assert 0 < true_error <= found.error
        assert found.converged == (found.error <= tolerance)
    assert not found.converged


def test_reported_error_shows_a_wrong_distribution_function() -> None:
    wrong = replace(normal(1.0), cdf=normal(1.1).cdf)
    assert stopping_distribution([0.3, 0.0], (wrong,) * 2).error > 1e-3
    assert stopping_distribution([0.3, 0.0], (normal(1.0),) * 2).error < ROUNDING


def test_reported_error_shows_wrong_ones_that_make_up_for_each_other() -> None:
    """Their probabilities sum to one: only Fubini's identity, layer by layer, tells."""
    laws = tuple(replace(normal(1.0), cdf=normal(s).cdf) for s in (1.1, 0.8701021928813776, 1.0))
    found = stopping_distribution([0.6, 0.3, 0.0], laws)
    assert found.probability.sum() == pytest.approx(1.0, abs=1e-12)
    assert found.error > 5e-3


def test_moments() -> None:
    assert standard_deviation(truncated_normal(0.5, 0.8)) == pytest.approx(
        stats.truncnorm(-1.6, 1.6, scale=0.5).std(), abs=1e-12
    )
    assert standard_deviation(laplace(0.3)) == pytest.approx(0.3 * np.sqrt(2), abs=1e-12)
    assert mean_positive_difference(uniform(0.7)) == pytest.approx(0.7 / 3, abs=ROUNDING)
    assert mean_positive_difference(normal(0.4)) == pytest.approx(0.4 / np.sqrt(np.pi), abs=1e-12)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (RademacherNoise(1.0), "RademacherNoise"),
        (AdversarialNoise(1.0), "AdversarialNoise"),
        (AutoregressiveNoise(GaussianNoise(1.0), 0.5), "AutoregressiveNoise"),
        (GaussianNoise((1.0, 0.0, 1.0)), "at every layer"),
        (UniformNoise(0.0), "at every layer"),
        ((normal(1.0),) * 2, "one density for each of 3"),
    ],
)
def test_noise_without_a_law(noise: AbstractNoise, message: str) -> None:
    with pytest.raises(UserError, match=message):
        stopping_distribution(np.zeros(3), noise)


def test_bad_input() -> None:
    noise = UniformNoise(1.0)
    with pytest.raises(UserError, match="tau"):
        stopping_distribution(np.zeros(3), noise, tau=-0.1)
    with pytest.raises(UserError, match="NaN"):
        stopping_distribution([0.0, np.nan], noise)
    with pytest.raises(UserError, match="one G"):
        stopping_distribution(np.zeros((2, 3)), noise)
    with pytest.raises(UserError, match="K"):
        stopping_distribution(np.zeros(3), noise, K=-1)
    with pytest.raises(UserError, match="increase"):
        Density(normal(1.0).pdf, normal(1.0).cdf, (1.0, 0.0))
    assert stopping_distribution([1.0, 2.0], noise, K=0).probability.tolist() == [0.0, 1.0]


# The simulator and the rules against the exact distribution
# ------------------------------------------------

LAYERS, WINDOW, TOKENS = 8, 6, 20_000
NOISES: tuple[AbstractNoise, ...] = (
    UniformNoise(0.5),
    UniformNoise((0.5, 0.1, 0.6, 0.3, 0.7, 0.2, 0.5, 0.4)),
    GaussianNoise(0.35),
    LaplaceNoise(0.3),
    TruncatedNormalNoise(0.4, 0.5),
)
DRIFTS = (0.0, 0.12, (0.0, 0.3, 0.0, 0.05, 0.2, 0.1, 0.15, 0.3))
GRID = tuple(product(NOISES, DRIFTS, (0.0, 0.15, 0.6), (LAYERS - 1, 4, 2)))
# Probability that a correct program fails this test: 1e-6, shared by every cell of every setting
# and by the two means that are compared in each.
LEVEL = 1e-6 / (len(GRID) * (LAYERS + 2))

WrongLaw = Callable[[FloatArray, AbstractNoise, float], StoppingDistribution]


def exact(G: FloatArray, noise: AbstractNoise, tau: float) -> StoppingDistribution:
    return stopping_distribution(G, noise, WINDOW, tau)


def off_by_one(G: FloatArray, noise: AbstractNoise, tau: float) -> StoppingDistribution:
    law = exact(G, noise, tau)
    return replace(law, probability=np.roll(law.probability, -1))


def tolerance_of_wrong_sign(
    G: FloatArray, noise: AbstractNoise, tau: float
) -> StoppingDistribution:
    law = exact(G + 2 * tau * np.arange(LAYERS), noise, tau)
    return replace(law, latent=G)


def tolerance_ignored(G: FloatArray, noise: AbstractNoise, tau: float) -> StoppingDistribution:
    return exact(G, noise, 0.0)


def depth_for_projections(G: FloatArray, noise: AbstractNoise, tau: float) -> StoppingDistribution:
    """Counts the steps back in place of the layers that are read: the paper's 0.116."""
    law = exact(G, noise, tau)
    return replace(law, reached=np.roll(law.reached, 1))


def excess_of_wrong_sign(G: FloatArray, noise: AbstractNoise, tau: float) -> StoppingDistribution:
    return replace(exact(G, noise, tau), latent=-G)


def rejected(
    wrong: WrongLaw, grid: tuple[tuple[AbstractNoise, object, float, int], ...]
) -> list[str]:
    """Settings in which the simulation refutes the law, with the smallest p-value of each."""
    rng = np.random.default_rng(2024)
    refuted = []
    for noise, drift, tau, turning in grid:
        onset = tuple(float(layer == min(turning, LAYERS - 2)) for layer in range(LAYERS - 1))
        process = Process(
            layers=LAYERS,
            noise=noise,
            K=WINDOW,
            drift=drift,  # type: ignore[arg-type]
            rise=0.7,
            perturbed=float(turning < LAYERS - 1),
            onset=onset,
        )
        paths = process.sample(rng, TOKENS)
        rule = Search(WINDOW) if tau == 0 else Tolerance(tau, WINDOW)
        layer = rule.choose(paths.x)
        law = wrong(paths.G[0], noise, tau)
        count = np.bincount(layer, minlength=LAYERS)
        p = np.clip(law.probability, 0, 1)
        tails = np.minimum(stats.binom.cdf(count, TOKENS, p), stats.binom.sf(count - 1, TOKENS, p))
        values = [2 * float(tails.min())]
        for sample, expected in (
            (rule.projections(paths.x), law.extra_projections),
            (paths.excess(layer), law.expected_excess(turning)),
        ):
            # Bounded or with exponential tails: at 20,000 draws the mean is as good as normal; one
            # token more or less is allowed for, where all draws agree and the variance is zero.
            error = sample.std() / np.sqrt(TOKENS) + np.ptp(paths.G[0]) / TOKENS + 1e-12
            values.append(2 * float(stats.norm.sf(abs(sample.mean() - expected) / error)))
        if min(values) < LEVEL:
            refuted.append(f"{noise} drift {drift} tau {tau} V* {turning}: p = {min(values):.1e}")
    return refuted


@pytest.mark.slow
def test_simulation_agrees_with_the_law() -> None:
    assert rejected(exact, GRID) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        off_by_one,
        tolerance_of_wrong_sign,
        tolerance_ignored,
        depth_for_projections,
        excess_of_wrong_sign,
    ],
)
def test_simulation_rejects_broken_laws(wrong: WrongLaw) -> None:
    some = tuple(setting for setting in GRID if setting[2] == 0.15 and setting[3] == LAYERS - 1)
    assert len(rejected(wrong, some)) >= len(some) // 2


def test_density_of_each_layer() -> None:
    """The densities integrate to the law that the noise samples from."""
    rng = np.random.default_rng(5)
    for noise in NOISES:
        sample = noise.sample(rng, np.zeros((4000, LAYERS)), np.zeros(4000, dtype=np.intp), 0)
        for layer, density in enumerate(densities(noise, LAYERS)):
            # Under its own distribution function a sample is uniform on [0, 1].
            p = stats.kstest(density.cdf(sample[:, layer]), "uniform").pvalue
            assert p > 1e-6 / (LAYERS * len(NOISES)), (noise, layer)
