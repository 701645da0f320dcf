"""The change-point model: definition against vectorised code, and beliefs against simulation."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from stopping.changepoint import (
    ChangePointModel,
    Component,
    Scale,
    log_joint,
    log_likelihood,
    posterior,
    read_model,
    write_model,
)
from stopping.errors import UserError
from stopping.model.paths import at
from stopping.optimal.rules import Bayes
from stopping.rules import Final, Search
from tests.stopping.changepoint.models import (
    LOG,
    NATS,
    SOFTPLUS,
    component,
    one_class,
    two_classes,
    with_types,
)

pytestmark = pytest.mark.numerical

SIZE = 40_000
MODELS = {
    "one class": one_class(),
    "two classes": two_classes(),
    "log scale": two_classes(LOG),
    "softplus scale": two_classes(SOFTPLUS),
    "layer types": with_types(two_classes()),
}
ALL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def z_scores(values: np.ndarray) -> np.ndarray:
    """Column means in standard errors; columns that are zero throughout are left out."""
    values = values[:, (values != 0).any(axis=0)]
    found: np.ndarray = values.mean(axis=0) / (values.std(axis=0) / np.sqrt(len(values)))
    return found


def moment_scores(drawn: Component, stated: Component, v: int) -> np.ndarray:
    """Mean and covariance of drawn tokens against stated moments, in standard errors."""
    latent, noise, turning = drawn.sample(np.random.default_rng(1), SIZE)
    x, G = (latent + noise)[turning == v], latent[turning == v]
    m = stated.moments(v)
    upper = np.triu_indices(stated.w)
    centred, below = x - m.mean, G - m.mean
    covariances = (centred[:, :, None] * centred[:, None, :] - m.observed)[:, *upper]
    shared = (below[:, :, None] * centred[:, None, :] - m.latent)[:, *upper]
    return z_scores(np.concatenate([centred, covariances, shared], axis=1))


@pytest.mark.parametrize("v", [2, 3, 4])
def test_moments_are_those_of_the_samples(v: int) -> None:
    drawn = with_types(one_class()).components[0]
    # 35 scores each: a level of 1e-4 per test with Bonferroni's correction.
    limit = stats.norm.isf(1e-4 / 2 / 35)
    assert np.abs(moment_scores(drawn, drawn, v)).max() < limit


@pytest.mark.parametrize(
    "wrong",
    [
        {"drift_mean": -component().drift_mean},
        {"noise_sd": 1.2 * component().noise_sd},
        {"start_sd": 0.53},
        {"jump_sd": np.array([0.2])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_wrong_moments_are_noticed(wrong: dict[str, object]) -> None:
    drawn = with_types(one_class()).components[0]
    scores = moment_scores(drawn, replace(drawn, **wrong), 3)
    assert np.abs(scores).max() > stats.norm.isf(1e-4 / 2 / 35)


def density_by_definition(model: ChangePointModel, x: np.ndarray, first: int) -> np.ndarray:
    """One scipy normal per token, class and turning point."""
    found = np.zeros((len(x), len(model.components), model.w))
    for i, row in enumerate(x):
        seen = row[first:]
        slope = np.prod((model.scale.of(seen + 1e-5) - model.scale.of(seen - 1e-5)) / 2e-5)
        for c, part in enumerate(model.components):
            for v in range(model.w):
                m = part.moments(v)
                law = stats.multivariate_normal(m.mean[first:], m.observed[first:, first:])
                weight = model.weights[c] * part.turning[v]
                found[i, c, v] = weight * slope * law.pdf(model.scale.of(seen))
    return found


@ALL
@pytest.mark.parametrize("first", [0, 2, 4])
def test_joint_density_is_its_definition(model: ChangePointModel, first: int) -> None:
    x = model.sample(np.random.default_rng(2), 7).x
    expected = density_by_definition(model, x, first)
    assert np.exp(log_joint(model, x, first)) == pytest.approx(expected, rel=1e-5)
    assert log_likelihood(model, x, first) == pytest.approx(
        np.log(expected.sum(axis=(1, 2))), rel=1e-5, abs=1e-5
    )


@pytest.mark.parametrize("scale", [NATS, LOG, SOFTPLUS], ids=lambda scale: scale.name)
def test_density_in_nats_integrates_to_one(scale: Scale) -> None:
    model = two_classes(scale)
    last = model.w - 1

    def density(value: float) -> float:
        row = np.full((1, model.w), value)
        return float(np.exp(log_likelihood(model, row, last)[0]))

    low = -4.0 if scale.shift is None else -scale.shift + 1e-9
    ends = [low, -0.01, 0.0, 0.1, 1.0, 3.0, 10.0, 100.0, 10_000.0]
    found = sum(integrate.quad(density, a, b, limit=400)[0] for a, b in pairwise(ends))
    assert found == pytest.approx(1.0, abs=1e-6)


@pytest.mark.slow
@ALL
@pytest.mark.parametrize("first", [0, 3])
def test_beliefs_are_right_on_average_whatever_was_read(
    model: ChangePointModel, first: int
) -> None:
    paths = model.sample(np.random.default_rng(3), SIZE)
    found = posterior(model, paths.x, first)
    truth = paths.G - at(paths.G, paths.turning)[:, None]
    is_turning = paths.turning[:, None] == np.arange(model.w)
    # An error of the beliefs is uncorrelated with anything that was read.
    kinds = [np.ones(SIZE), paths.x[:, -1], paths.x[:, first], np.tanh(paths.x[:, -2] - 1)]
    scores = [
        z_scores(error * kind[:, None])
        for error in (found.excess - truth, found.latent - paths.G, found.turning - is_turning)
        for kind in kinds
    ]
    flat = np.concatenate(scores)
    assert np.abs(flat).max() < stats.norm.isf(1e-4 / 2 / len(flat))
    # The prior's beliefs, which ignore what was read, fail the same check.
    prior = truth.mean(axis=0) - truth
    assert np.abs(z_scores(prior[:, :-1] * paths.x[:, -1:])).max() > 6


@ALL
def test_the_bayes_layer_loses_least(model: ChangePointModel) -> None:
    paths = model.sample(np.random.default_rng(4), SIZE)
    best = posterior(model, paths.x).best_layer
    for rule in (Search(model.K), Final()):
        gain = paths.excess(rule.choose(paths.x)) - paths.excess(best)
        assert z_scores(gain[:, None])[0] > 4
    with_less = paths.excess(posterior(model, paths.x, 3).best_layer) - paths.excess(best)
    assert with_less.mean() > -4 * with_less.std() / np.sqrt(SIZE)


@ALL
def test_the_bayes_rule_takes_the_best_layer(model: ChangePointModel) -> None:
    x = model.sample(np.random.default_rng(8), 600).x
    found = posterior(model, x)
    chosen = Bayes(model).choose(x)
    # Two ways to integrate may part where two layers are as good as one another.
    loss = at(found.excess, chosen) - found.excess.min(axis=1)
    assert loss.max() < 1e-5
    assert (chosen == found.best_layer).mean() > 0.99


def test_expected_excess_of_a_noiseless_token_is_what_it_is() -> None:
    exact = replace(component(), noise_sd=np.full(5, 1e-7), turning=np.array([0, 0, 0, 1.0, 0]))
    model = ChangePointModel((exact,), np.array([1.0]))
    paths = model.sample(np.random.default_rng(5), 20)
    found = posterior(model, paths.x)
    assert found.excess == pytest.approx(paths.G - paths.G[:, [3]], abs=1e-5)
    assert (found.turning[:, 3] == 1).all()


@pytest.mark.parametrize("scale", [NATS, LOG, SOFTPLUS], ids=lambda scale: scale.name)
def test_noise_in_nats_is_that_of_the_samples(scale: Scale) -> None:
    model = two_classes(scale)
    paths = model.sample(np.random.default_rng(6), SIZE)
    scores = z_scores(paths.noise**2 - model.noise_nats() ** 2)
    assert np.abs(scores).max() < stats.norm.isf(1e-4 / 2 / model.w)
    assert np.abs(z_scores(paths.noise**2 - 1.1 * model.noise_nats() ** 2)).max() > 4


@pytest.mark.parametrize("scale", [NATS, LOG, SOFTPLUS], ids=lambda scale: scale.name)
def test_scales_go_there_and_back(scale: Scale) -> None:
    x = np.array([[0.0, 1e-6, 1e-3, 0.1, 1.0, 5.0, 12.0]])
    assert scale.nats(scale.of(x)) == pytest.approx(x, abs=1e-12)
    assert (np.diff(scale.of(x)) > 0).all()


def test_a_softplus_scale_is_nats_above_its_knee_and_a_logarithm_below() -> None:
    above, below = Scale(0.01, 0.01), Scale(0.01, 1e6)
    x = np.linspace(1.0, 5.0, 9)[None]
    assert above.of(x) * 0.01 - 0.01 == pytest.approx(x, abs=1e-9)
    assert below.of(x) + np.log(1e6) == pytest.approx(np.log(x + 0.01), abs=1e-5)


def test_mean_in_nats_of_many_cells_at_once() -> None:
    rng = np.random.default_rng(0)
    mean, variance = 70 * rng.standard_normal((300, 2, 3)), rng.random((2, 3))
    found = SOFTPLUS.mean_nats(mean, variance)
    for i in range(2):
        alone = SOFTPLUS.mean_nats(mean[:, i], variance[i])
        assert found[:, i] == pytest.approx(alone)
    assert (found[mean > 60] > 0.7 * 59).all()


@pytest.mark.parametrize("spread", [0.0, 0.3, 2.0, 8.0])
def test_mean_in_nats_is_an_integral(spread: float) -> None:
    scale, points = SOFTPLUS, np.linspace(-6, 9, 400)
    found = scale.mean_nats(points[:, None], np.array([spread**2]))[:, 0]
    for i in (0, 133, 250, 399):
        law = stats.norm(points[i], spread) if spread else None
        low, high = points[i] - 9 * spread, points[i] + 9 * spread
        expected = (
            float(scale.nats(points[i]))
            if law is None
            else integrate.quad(
                lambda z, law=law: float(scale.nats(np.array(z))) * law.pdf(z),
                *(low, high),
                epsabs=1e-10,
                limit=400,
            )[0]
        )
        assert found[i] == pytest.approx(expected, abs=2e-6)


@ALL
def test_written_and_read_again(model: ChangePointModel, tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    write_model(path, model, {"seed": 3})
    again = read_model(path)
    x = model.sample(np.random.default_rng(7), 10).x
    assert (log_likelihood(again, x) == log_likelihood(model, x)).all()
    assert json.loads(path.read_text())["seed"] == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{}", "no fitted model"),
        ('{"format": "layer-stopping change-point model", "ver', "no fitted model"),
        ('{"format": "layer-stopping change-point model", "version": 9, "model": {}}', "upgrade"),
        (
            '{"format": "layer-stopping change-point model", "version": 1, "model": {}}',
            "required field missing",
        ),
    ],
)
def test_bad_files(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"turning": np.full(5, 0.3)}, "sum to 1"),
        ({"turning": np.array([1.0])}, "two layers"),
        ({"noise_sd": np.zeros(4)}, "noise_sd: shape"),
        ({"noise_sd": np.full(5, -1.0)}, "not negative"),
        ({"rise_mean": np.full(4, np.nan)}, "rise_mean: must be finite"),
        ({"jump_sd": np.array([0.1])}, "jump_sd: shape"),
    ],
)
def test_bad_parameters(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(component(), **change)


def test_bad_input_says_why() -> None:
    model, log_model = one_class(), two_classes(LOG)
    with pytest.raises(UserError, match="weights"):
        ChangePointModel((component(),), np.array([0.5]))
    with pytest.raises(UserError, match="same window"):
        ChangePointModel((component(4), component(5)), np.array([0.5, 0.5]))
    with pytest.raises(UserError, match="shift"):
        Scale(0.0)
    with pytest.raises(UserError, match="needs a shift"):
        Scale(None, 1.0)
    with pytest.raises(UserError, match="the model's window has 5"):
        posterior(model, np.ones((2, 4)))
    with pytest.raises(UserError, match="NaN"):
        posterior(model, np.full((2, 5), np.nan))
    with pytest.raises(UserError, match="entropies are not negative"):
        posterior(log_model, np.full((2, 5), -0.05))
    with pytest.raises(UserError, match="first"):
        posterior(model, np.ones((2, 5)), first=5)
    flat = replace(component(), noise_sd=np.zeros(5), drift_sd=np.zeros(4))
    with pytest.raises(UserError, match="without noise"):
        posterior(ChangePointModel((flat,), np.array([1.0])), np.ones((2, 5)))


def test_no_tokens_give_no_beliefs() -> None:
    found = posterior(one_class(), np.ones((0, 5)))
    assert found.excess.shape == (0, 5)
    assert found.best_layer.shape == (0,)
