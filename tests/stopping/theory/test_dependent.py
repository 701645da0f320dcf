"""T14: bounds for dependent noise against their cases, simulation and what refutes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopping.errors import UserError
from stopping.model.misspecification import AutoregressiveNoise, StationaryNoise
from stopping.model.noise import AbstractNoise, GaussianNoise
from stopping.rules import Search
from stopping.theory.bounds import excess_tail_bound, expected_excess_bound, stop_above_bound
from stopping.theory.dependent import (
    excess_tail_by_difference,
    exchangeable_factor,
    expected_excess_by_difference,
    expected_halving_bound,
    halving_bound,
    increment_scales,
    is_convex,
    markov_covariance,
    stop_above_by_increments,
    widest_difference,
)
from stopping.types import FloatArray

N = 100_000


def stops(noise: AbstractNoise, G: FloatArray, turning: int) -> FloatArray:
    """`V* - V^` of many tokens."""
    latent = np.broadcast_to(G, (N, len(G)))
    eps = noise.sample(np.random.default_rng(3), latent, np.full(N, turning), 0)
    found: FloatArray = turning - Search(len(G) - 1).choose(latent + eps)
    return found


@given(st.lists(st.floats(0.1, 6), min_size=1, max_size=5), st.floats(0.1, 3))
def test_independent_noise_is_T10(delta: list[float], sigma: float) -> None:
    s = np.sqrt(2) * sigma
    assert stop_above_by_increments(delta, s) == pytest.approx(stop_above_bound(delta, sigma))
    assert excess_tail_by_difference(delta, s) == pytest.approx(excess_tail_bound(delta, sigma))
    assert expected_excess_by_difference(s) == pytest.approx(expected_excess_bound(sigma))
    # Jointly normal noise: the difference bound of T13, pi times less.
    assert expected_excess_by_difference(s, normal=True) == pytest.approx(sigma / np.sqrt(np.pi))


def test_scales_are_those_of_drawn_noise() -> None:
    covariance = markov_covariance([1.0, 0.5, 2.0, 0.0], [0.9, 0.3, 0.0])
    eps = np.random.default_rng(0).multivariate_normal(np.zeros(4), covariance, 400_000)
    assert increment_scales(covariance) == pytest.approx(np.diff(eps, axis=1).std(axis=0), rel=0.01)
    drawn = (eps[:, 2:3] - eps[:, :2]).std(axis=0).max()
    assert widest_difference(covariance, 2) == pytest.approx(drawn, rel=0.01)
    assert widest_difference(covariance, 0) == 0.0
    # The correlation of layers two apart is the product.
    assert covariance[0, 2] == pytest.approx(1.0 * 2.0 * 0.9 * 0.3)


def test_three_rises_where_T10_is_silent() -> None:
    rises, sigma, rho = [1.5, 1.5, 1.5], 1.0, 0.8
    scale = increment_scales(markov_covariance(np.full(4, sigma), np.full(3, rho)))
    bound = stop_above_by_increments(rises, scale)
    assert bound == pytest.approx(0.18, abs=0.001)
    assert stop_above_bound(rises, sigma) == 1.0
    G = np.cumsum([0.0, *rises])
    noise = AutoregressiveNoise(GaussianNoise(sigma), rho)
    found = (stops(noise, G, 0) < 0).mean()
    assert 0.02 < found < bound
    # Negative control: independent noise breaks the bound made for the correlation.
    assert (stops(GaussianNoise(sigma), G, 0) < 0).mean() > bound


def test_no_noise_between_neighbours_never_stops() -> None:
    assert stop_above_by_increments([1.0, 2.0], [0.0, 0.0]) == 0.0
    shared = stop_above_by_increments([1.0, 2.0], [0.0, 1.0])
    assert shared == pytest.approx(np.exp(-2.0))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_halves_hold_for_convex_autocorrelation(rho: float) -> None:
    K = 6
    assert is_convex(rho ** np.arange(K + 1.0))
    steps = stops(AutoregressiveNoise(GaussianNoise(1.0), rho), np.zeros(K + 1), K)
    for j in range(1, 5):
        # Five standard errors of a share.
        assert (steps >= j).mean() <= halving_bound(j) + 5 * 0.5 / np.sqrt(N)
    assert steps.mean() <= expected_halving_bound(K) + 0.02


def test_halves_are_approached_and_fail_for_a_smooth_kernel() -> None:
    K = 12
    near = stops(AutoregressiveNoise(GaussianNoise(1.0), 0.99), np.zeros(K + 1), K)
    assert near.mean() > 0.97 * expected_halving_bound(K)
    kernel = np.exp(-0.125 * np.arange(K + 1.0) ** 2)
    assert not is_convex(kernel)
    assert stops(StationaryNoise(1.0, tuple(kernel)), np.zeros(K + 1), K).mean() > 1.3
    # T11's own law fails for AR(1) noise: it needs exchangeable layers.
    half = stops(AutoregressiveNoise(GaussianNoise(1.0), 0.5), np.zeros(K + 1), K)
    assert (half >= 2).mean() > 1 / 6 + 0.02


def test_a_polya_type_correlation_obeys_the_law_of_halves() -> None:
    K = 8
    triangle = np.maximum(1 - np.arange(K + 1) / 6, 0.0)
    assert is_convex(triangle)
    steps = stops(StationaryNoise(2.0, tuple(triangle)), np.zeros(K + 1), K)
    assert steps.mean() <= expected_halving_bound(K) + 0.02


def test_exchangeable_normal_noise_is_independent_noise_of_another_scale() -> None:
    rho, G = 0.6, np.array([2.0, 1.0, 0.4, 0.0])
    shared = stops(StationaryNoise(1.0, (1.0, rho, rho, rho)), G, 3)
    alone = stops(GaussianNoise(exchangeable_factor(rho)), G, 3)
    gaps = np.bincount(shared, minlength=4) - np.bincount(alone, minlength=4)
    # Five standard errors of a difference of two shares.
    assert np.abs(gaps / N).max() < 5 * np.sqrt(0.5 / N)
    assert stops(GaussianNoise(1.0), G, 3).mean() > shared.mean() + 0.05


def test_bad_input() -> None:
    for call, what in (
        (lambda: increment_scales([[1.0, 2.0]]), "symmetric matrix"),
        (lambda: increment_scales([[1.0, np.nan], [np.nan, 1.0]]), "symmetric matrix"),
        (lambda: increment_scales([[1.0, 3.0], [3.0, 1.0]]), "negative"),
        (lambda: widest_difference(np.eye(2), 2), "turning"),
        (lambda: markov_covariance([1.0, 1.0], [1.2]), "correlation"),
        (lambda: markov_covariance([1.0, 1.0], [0.1, 0.1]), "correlation"),
        (lambda: markov_covariance([-1.0, 1.0], [0.1]), "deviation"),
        (lambda: stop_above_by_increments([0.0], 1.0), "delta"),
        (lambda: stop_above_by_increments([1.0], -1.0), "scale"),
        (lambda: exchangeable_factor(1.5), "rho"),
        (lambda: halving_bound(0.5), "whole numbers"),
        (lambda: is_convex([0.5, 0.2]), "autocorrelation"),
        (lambda: StationaryNoise(1.0, (1.0, -1.0, -1.0)), "no noise has it"),
        (lambda: StationaryNoise(1.0, ()), "autocorrelation"),
    ):
        with pytest.raises(UserError, match=what):
            call()
