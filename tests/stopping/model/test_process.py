"""The generative model: its promises hold by construction, its moments are the exact ones."""

import numpy as np
import pytest

from stopping.errors import UserError
from stopping.model import assumptions
from stopping.model.noise import GaussianNoise, UniformNoise, per_layer
from stopping.model.paths import Paths
from stopping.model.process import Process
from stopping.types import FloatArray

pytestmark = pytest.mark.numerical

MODEL = Process(
    layers=9,
    noise=UniformNoise((0.0, 0.05, 0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)),
    K=5,
    drift=(0.0, 1.0, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.0),
    drift_spread=1.5,
    rise=0.2 + 1e-9,
    rise_excess=(0.0,) * 6 + (0.1, 0.2, 0.3),
    perturbed=0.4,
)


def sample(process: Process, n: int = 50_000, seed: int = 1) -> Paths:
    return process.sample(np.random.default_rng(seed), n)


def test_assumptions_hold_by_construction() -> None:
    paths = sample(MODEL)
    assert assumptions.refinement(paths).all()
    assert assumptions.bounded_noise(paths, 0.1).all()
    assert assumptions.dominance(paths, 0.1).all()
    assert assumptions.window(paths).all()


def test_each_predicate_notices_its_own_violation() -> None:
    paths = sample(MODEL, 2_000)
    assert not assumptions.bounded_noise(paths, 0.099).all()
    assert not assumptions.dominance(paths, 0.11).all()
    early = Process(
        layers=9,
        noise=UniformNoise(0.1),
        K=3,
        perturbed=1.0,
        onset=(0.0, 0.0, 1.0, 0, 0, 0, 0, 0),
    )
    assert not assumptions.window(sample(early, 10)).any()
    bumpy = Paths.from_latent([[1.0, 1.1, 0.5]], [[0.0, 0.0, 0.0]], np.array([2]))
    assert not assumptions.refinement(bumpy).any()


def test_the_edges_of_the_window() -> None:
    """A2 is asked of its first layer, A1 not of the step into it."""
    window = {"turning": np.array([2]), "l_min": 1}
    noisy = Paths.from_latent([[2.0, 1.0, 0.5]], [[0.0, 0.3, 0.0]], **window)
    assert not assumptions.bounded_noise(noisy, 0.2).any()
    before = Paths.from_latent([[2.0, 1.0, 0.5]], [[0.3, 0.0, 0.0]], **window)
    assert assumptions.bounded_noise(before, 0.2).all()
    entering = Paths.from_latent([[0.0, 1.0, 0.5]], [[0.0, 0.0, 0.0]], **window)
    assert assumptions.refinement(entering).all()


def mean_latent(model: Process) -> FloatArray:
    """Exact `E G[l]`: layer `l` lies beyond the turning point with probability `P(V* < l)`."""
    drift, rise, excess = (
        per_layer(getattr(model, name), model.layers, name).copy()
        for name in ("drift", "rise", "rise_excess")
    )
    drift[0] = 0.0
    beyond = np.concatenate([[0.0], np.cumsum(model.turning_distribution())[:-1]])
    return model.start + np.cumsum(beyond * (rise + excess) - (1.0 - beyond) * drift)


def test_the_sample_has_the_exact_mean_and_law_of_the_turning_point() -> None:
    n = 100_000
    paths = sample(MODEL, n)
    stderr = paths.G.std(axis=0) / np.sqrt(n)
    assert (np.abs(paths.G.mean(axis=0) - mean_latent(MODEL)) <= 5 * stderr + 1e-12).all()
    law = MODEL.turning_distribution()
    found = np.bincount(paths.turning, minlength=9) / n
    assert (np.abs(found - law) <= 5 * np.sqrt(law * (1 - law) / n)).all()
    assert law[-1] == pytest.approx(0.6)
    assert law.sum() == pytest.approx(1.0)


def test_a_wrong_mean_would_be_noticed() -> None:
    n = 100_000
    stderr = sample(MODEL, n).G.std(axis=0) / np.sqrt(n)
    shifted = mean_latent(Process(**{**vars(MODEL), "perturbed": 0.44}))
    assert (np.abs(sample(MODEL, n).G.mean(axis=0) - shifted) > 5 * stderr).any()


def test_observed_is_latent_plus_noise_and_sampling_is_reproducible() -> None:
    paths, again, other = sample(MODEL, 100), sample(MODEL, 100), sample(MODEL, 100, seed=2)
    assert np.array_equal(paths.x, paths.refinement + paths.perturbation + paths.noise)
    assert np.array_equal(paths.x, again.x)
    assert not np.array_equal(paths.x, other.x)
    assert (np.diff(paths.refinement, axis=1) <= 0).all()


def test_constant_drift_has_no_spread() -> None:
    paths = sample(Process(layers=4, noise=GaussianNoise(0.0), drift=0.25, perturbed=0.0), 3)
    assert np.allclose(paths.x, [5.0, 4.75, 4.5, 4.25])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 0}, "layers"),
        ({"K": -1}, "K: must"),
        ({"perturbed": 1.1}, "perturbed"),
        ({"drift": -0.1}, "drift"),
        ({"drift": (0.1, 0.2)}, "drift: expected one number or 5"),
        ({"rise": float("nan")}, "rise"),
        ({"drift_spread": float("inf")}, "drift_spread"),
        ({"start": float("nan")}, "start"),
        ({"onset": (0.5, 0.5)}, "onset: expected 4"),
        ({"onset": (0.5, 0.5, 0.5, 0.5)}, "onset: must be probabilities"),
        ({"K": 0}, "onset: with K = 0"),
        ({"noise": UniformNoise((0.1, 0.1))}, "eps_max"),
    ],
)
def test_bad_parameters_say_which(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Process(**{"layers": 5, "noise": UniformNoise(0.1), **settings})  # type: ignore[arg-type]


def test_one_layer_is_a_model_too() -> None:
    paths = sample(Process(layers=1, noise=UniformNoise(0.1)), 10)
    assert paths.x.shape == (10, 1)
    assert (paths.turning == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": np.zeros((2, 4))}, "noise: shape"),
        ({"turning": np.array([0, 3])}, "turning: layer indices"),
        ({"turning": np.array([0.0, 1.0])}, "turning: expected one layer index"),
        ({"l_min": 3}, "l_min"),
        ({"perturbation": np.ones((2, 3))}, "perturbation: must be zero"),
        ({"refinement": np.full((2, 3), np.nan)}, "refinement: 6 value"),
    ],
)
def test_paths_check_their_invariants(change: dict[str, object], message: str) -> None:
    good = {
        "refinement": np.zeros((2, 3)),
        "perturbation": np.zeros((2, 3)),
        "noise": np.zeros((2, 3)),
        "turning": np.array([0, 2]),
    }
    Paths(**good)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        Paths(**{**good, **change})  # type: ignore[arg-type]


def test_calibration_gap() -> None:
    rng = np.random.default_rng(0)
    entropy = rng.random((1000, 3))
    log_loss = entropy + rng.standard_normal((1000, 3)) * 0.1 + np.array([0.0, 0.5, 0.0])
    assert assumptions.calibrated(entropy, log_loss, 0.02).tolist() == [True, False, True]
    with pytest.raises(UserError, match="equal shapes"):
        assumptions.calibration_gap(entropy, log_loss[:, :2])
