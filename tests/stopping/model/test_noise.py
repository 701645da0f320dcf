"""Laws of the noise: support, moments, and that the adversary is the worst."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stopping.errors import UserError
from stopping.model.noise import (
    AbstractNoise,
    AdversarialNoise,
    GaussianNoise,
    RademacherNoise,
    TruncatedNormalNoise,
    UniformNoise,
    worst_noise,
)
from stopping.rules import Search, Tolerance
from stopping.testing import EPS_MAX, World, worlds

SCALES = (0.0, 0.1, 0.5)
BOUNDED: tuple[AbstractNoise, ...] = (
    UniformNoise(SCALES),
    TruncatedNormalNoise((0.0, 0.2, 0.2), SCALES),
    RademacherNoise(SCALES),
    AdversarialNoise(SCALES),
)


def sample(noise: AbstractNoise, n: int, seed: int = 0) -> np.ndarray:
    latent = np.tile([0.2, 0.1, 0.0], (n, 1))
    return noise.sample(np.random.default_rng(seed), latent, np.full(n, 2), 0)


@pytest.mark.parametrize("noise", BOUNDED, ids=lambda noise: type(noise).__name__)
def test_bounded_noise_keeps_its_bound_and_uses_it(noise: AbstractNoise) -> None:
    eps = np.abs(sample(noise, 20_000))
    assert (eps <= noise.bound(3)).all()
    assert (eps[:, 0] == 0).all()
    assert (eps.max(axis=0) >= 0.95 * noise.bound(3)).all()


def test_moments_of_each_law() -> None:
    n = 200_000
    truncated = sample(TruncatedNormalNoise(1.0, 1.5), n)
    # variance of a normal truncated at +-a: 1 - 2 a phi(a) / (2 Phi(a) - 1)
    phi, mass = 0.12951759566589174, 0.8663855974622838
    for noise, variance in (
        (sample(UniformNoise(0.6), n), 0.6**2 / 3),
        (sample(GaussianNoise(0.6), n), 0.36),
        (sample(RademacherNoise(0.6), n), 0.36),
        (truncated, 1 - 3.0 * phi / mass),
    ):
        error = 5 / np.sqrt(n)
        assert np.abs(noise.mean(axis=0)).max() < error
        assert np.abs(noise.var(axis=0) - variance).max() < 3 * error * variance
        correlation = np.corrcoef(noise.T) - np.eye(3)
        assert np.abs(correlation).max() < error


@pytest.mark.parametrize(
    "noise", [*BOUNDED[:3], GaussianNoise(SCALES)], ids=lambda noise: type(noise).__name__
)
def test_sigma_is_sub_gaussian(noise: AbstractNoise) -> None:
    """`E exp(s eps) <= exp(s^2 sigma^2 / 2)`; with 0.9 sigma the corners of the laws break it."""
    eps, sigma = sample(noise, 400_000)[:, 1:], noise.sigma(3)[1:]
    for s in (-8.0, -2.0, 2.0, 8.0):
        moment = np.exp(s * eps)
        stderr = moment.std(axis=0) / np.sqrt(len(eps))
        assert (moment.mean(axis=0) <= np.exp((s * sigma) ** 2 / 2) + 5 * stderr).all()


def test_a_truncated_normal_has_the_smaller_of_its_two_parameters() -> None:
    assert TruncatedNormalNoise((0.5, 2.0), (2.0, 0.5)).sigma(2).tolist() == [0.5, 0.5]


def test_a_sigma_too_small_is_noticed() -> None:
    eps, s = sample(RademacherNoise(0.5), 400_000)[:, 2], 2.0
    moment = np.exp(s * eps)
    assert moment.mean() > np.exp((s * 0.9 * 0.5) ** 2 / 2) + 5 * moment.std() / np.sqrt(len(eps))


def worst_by_enumeration(world: World) -> float:
    """Largest excess over noises on a fine grid: a lower bound of what the adversary attains."""
    paths = world.paths
    grid = (-EPS_MAX, -0.5, 0.0, 0.5, EPS_MAX)
    noise = np.array(list(itertools.product(grid, repeat=paths.layers)))
    x = paths.G + noise
    rule = Tolerance(world.tau, paths.K) if world.tau else Search(paths.K)
    stop = rule.choose(x)
    return float((paths.G[0, stop] - paths.G[0, paths.turning[0]]).max())


@pytest.mark.parametrize("tau", [0.0, 0.4])
@pytest.mark.parametrize("dominance", [2.0, 1.2])
def test_the_adversary_is_at_least_as_bad_as_every_noise_on_a_grid(
    tau: float, dominance: float
) -> None:
    @given(worlds(tau=tau, dominance=dominance).filter(lambda world: world.paths.layers <= 5))
    def check(world: World) -> None:
        paths = world.paths
        noise = worst_noise(paths.G, paths.turning, np.full(paths.layers, EPS_MAX), 0, tau)
        assert (np.abs(noise) <= EPS_MAX).all()
        stop = Tolerance(tau, paths.K).choose(paths.G + noise)
        assert paths.excess(stop)[0] >= worst_by_enumeration(world) - 1e-9

    check()


@example(G=np.array([0.0, 3.0, 2.5]), K=1)
@given(
    G=arrays(np.float64, st.integers(2, 4), elements=st.sampled_from(np.arange(0, 6, 0.5))),
    K=st.integers(1, 3),
)
def test_the_adversary_knows_where_the_window_ends(G: np.ndarray, K: int) -> None:
    """On any path: only off a valley can a search that the window ends lose most there."""
    end = max(0, len(G) - 1 - K)
    turning = G.argmin(keepdims=True)
    noise = worst_noise(G[None], turning, np.ones(len(G)), end)
    # Fine enough: what noises of half steps and less cannot do, none can on such a path.
    grid = np.array(list(itertools.product(np.linspace(-1, 1, 9), repeat=len(G))))
    worst = G[Search(K).choose(G + grid)].max()
    assert G[Search(K).choose(G + noise)][0] >= worst - 1e-9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UniformNoise(-0.1), ">= 0"),
        (lambda: UniformNoise(float("nan")), "finite"),
        (lambda: GaussianNoise((0.1, 0.2)), "expected one number or 3"),
    ],
)
def test_bad_scales_say_why(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sample(make(), 2)  # type: ignore[operator]
