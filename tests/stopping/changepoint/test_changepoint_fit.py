"""Estimation: derivatives against differences, recovery of known models, honest errors."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from stopping.changepoint import ChangePointModel, Component, Scale, log_likelihood
from stopping.changepoint.bootstrap import bootstrap
from stopping.changepoint.estimate import (
    Estimate,
    carry_on,
    fit,
    fit_near,
    layout_for,
    restricted,
)
from stopping.changepoint.inference import Status, profile_errors, uncertainty
from stopping.changepoint.layer_profile import Profile, profile
from stopping.changepoint.layout import Layout
from stopping.changepoint.objective import Objective
from stopping.changepoint.scores import information
from stopping.errors import UserError
from stopping.model.paths import at
from tests.stopping.changepoint.models import LOG, SOFTPLUS, one_class, two_classes, with_types
from tests.stopping.changepoint.recovery import Recovery, recover

CASES = {
    "nats": (two_classes(), "none"),
    "tied final noise, layer types": (with_types(two_classes(LOG)), "tied"),
}


def clear() -> ChangePointModel:
    """All of whose parameters a thousand tokens identify."""
    part = Component(
        start_mean=2.0,
        start_sd=0.5,
        drift_mean=np.array([0.5, 0.4, 0.3]),
        drift_sd=np.array([0.3, 0.3, 0.25]),
        rise_mean=np.array([0.9, 1.0, 1.1]),
        rise_sd=np.array([0.3, 0.3, 0.35]),
        noise_sd=np.array([0.3, 0.3, 0.3, 0.0]),
        turning=np.array([0.1, 0.25, 0.25, 0.4]),
    )
    return ChangePointModel((part,), np.ones(1))


def objective_of(model: ChangePointModel, final: str, n: int = 300) -> tuple[Objective, np.ndarray]:
    x = model.sample(np.random.default_rng(0), n).x
    types = model.components[0].types
    layout = Layout(model.w, len(model.components), model.scale, 1.0, types, final)  # type: ignore[arg-type]
    weight = np.random.default_rng(1).integers(0, 3, n).astype(float)
    return Objective(layout, model.scale.of(x), weight), layout.vector(model)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_value_and_derivatives(case: tuple[ChangePointModel, str]) -> None:
    objective, theta = objective_of(*case)
    layout = objective.layout
    value, gradient = objective.value_and_gradient(theta)
    x = layout.scale.nats(objective.z)
    in_nats = log_likelihood(layout.model(theta), x) - layout.scale.log_slope(x).sum(axis=1)
    assert value == pytest.approx(objective.weight @ in_nats / objective.total, rel=1e-10)
    differences = approx_fprime(theta, lambda t: objective.value_and_gradient(t)[0], 1e-7)
    assert gradient == pytest.approx(differences, rel=1e-5, abs=2e-5)
    found = information(objective, theta)
    mean_score = objective.weight @ found.scores / objective.total
    assert mean_score == pytest.approx(gradient, abs=1e-9)
    second = np.array(
        [
            objective.value_and_gradient(theta + e)[1] - objective.value_and_gradient(theta - e)[1]
            for e in 1e-5 * np.eye(len(theta))
        ]
    )
    observed = -objective.total * second / 2e-5
    assert found.observed == pytest.approx(observed, abs=1e-5 * np.abs(observed).max())


@pytest.mark.parametrize("switch", ["turns", "noisy"])
def test_derivatives_of_restricted_walks(switch: str) -> None:
    model = one_class()
    x = model.sample(np.random.default_rng(0), 200).x
    full = layout_for(x, 1, model.scale)
    layout = restricted(full, **{switch: False})
    objective = Objective(layout, x, np.ones(len(x)))
    theta = layout.vector(model)
    _, gradient = objective.value_and_gradient(theta)
    differences = approx_fprime(theta, lambda t: objective.value_and_gradient(t)[0], 1e-7)
    assert gradient == pytest.approx(differences, rel=1e-5, abs=2e-5)
    assert information(objective, theta).scores.mean(axis=0) == pytest.approx(gradient, abs=1e-9)


REPLICATIONS = 120


@pytest.fixture(scope="module")
def recovered() -> Recovery:
    return recover(clear(), prompts=30, tokens=20, replications=REPLICATIONS, seed=1)


@pytest.mark.slow
def test_parameters_are_recovered_and_intervals_cover(recovered: Recovery) -> None:
    assert len(recovered.names) >= 16
    error = (recovered.mean - recovered.truth) / (recovered.spread / np.sqrt(REPLICATIONS))
    # The bias of maximum likelihood is of order 1 / n: a tenth of a standard error is allowed.
    allowed = 4.2 + 0.1 * np.sqrt(REPLICATIONS)
    assert np.abs(error).max() < allowed, dict(zip(recovered.names, error, strict=True))
    for by_prompts in (True, False):
        found = recovered.coverage(by_prompts, level=0.999)
        assert 0.95 in found, (by_prompts, found)
        # Each parameter alone: binomial at 1e-4, with two points for the smallness of the sample.
        lowest = 0.95 - 0.02 - 3.7 * np.sqrt(0.95 * 0.05 / REPLICATIONS)
        assert recovered.each(by_prompts).min() > lowest


@pytest.mark.slow
def test_intervals_half_as_wide_do_not_cover(recovered: Recovery) -> None:
    centre = recovered.mean
    # Nominal half-intervals around each estimate hold the truth about two times in three.
    rng = np.random.default_rng(0)
    shifted = centre + recovered.spread * rng.standard_normal((REPLICATIONS, len(centre)))
    held = np.abs(shifted - centre) < 0.98 * recovered.spread
    assert 0.95 not in Recovery(
        recovered.names, centre, centre, recovered.spread, held, held
    ).coverage(level=0.999)


def test_errors_over_few_prompts_are_corrected_for_their_number() -> None:
    found, x, _ = fitted(clear(), 400)
    prompt = np.arange(400) % 4
    errors = uncertainty(found, x, prompt)
    objective = Objective(found.layout, found.layout.scale.of(x), np.ones(400))
    scores = information(objective, found.theta).scores
    sums = np.array([scores[prompt == k].sum(axis=0) for k in range(4)])
    expected = errors.by_information @ (4 * np.cov(sums.T)) @ errors.by_information
    np.testing.assert_allclose(errors.by_prompts, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.slow
def test_errors_over_prompts_cover_where_those_over_tokens_do_not() -> None:
    found = recover(clear(), 30, 20, replications=80, seed=2, prompt_shift=0.5)
    start = found.names.index("start_mean[0]")
    assert found.each(by_prompts=True)[start] > 0.95 - 0.02 - 3.7 * np.sqrt(0.95 * 0.05 / 80)
    assert found.each(by_prompts=False)[start] < 0.7


def fitted(
    model: ChangePointModel, n: int = 1500, classes: int = 1, seed: int = 0, jobs: int = 1
) -> tuple[Estimate, np.ndarray, np.ndarray]:
    x = model.sample(np.random.default_rng(3), n).x
    prompt = np.arange(n) * 50 // n
    layout = layout_for(x, classes, model.scale)
    return fit(x, prompt, layout, seed=seed, starts=4, jobs=jobs), x, prompt


@pytest.mark.slow
@pytest.mark.parametrize("scale", [LOG, SOFTPLUS], ids=lambda scale: scale.name)
def test_random_starts_reach_the_truth(scale: Scale) -> None:
    model = two_classes(scale)
    found, x, _ = fitted(model, 3000, classes=2)
    assert found.converged
    assert found.log_likelihood == pytest.approx(log_likelihood(found.model, x).mean(), rel=1e-9)
    # The maximum is above the truth, by half a nat for each parameter in expectation.
    gain = len(x) * (found.log_likelihood - log_likelihood(model, x).mean())
    assert 0 < gain < 1.5 * found.layout.free
    order = np.argsort([c.start_mean for c in found.model.components])
    assert found.model.weights[order] == pytest.approx([0.35, 0.65], abs=0.08)


def test_the_seed_decides_and_the_number_of_workers_does_not() -> None:
    first, again = (fitted(clear(), jobs=jobs)[0] for jobs in (1, 2))
    assert (first.theta == again.theta).all()
    assert first.starts == again.starts


def test_all_ends_are_continued_and_the_highest_is_the_estimate() -> None:
    model = two_classes()
    x = model.sample(np.random.default_rng(4), 2000).x
    layout = layout_for(x, 2, model.scale)
    # From two classes that are alike, Newton steps lead to where they are: a lower place.
    one, _ = model.components
    alike = layout.vector(ChangePointModel((one, one), np.array([0.5, 0.5]), model.scale))
    ends = (alike, layout.vector(model))
    begun = fit_near(x, layout, ends[1])
    first, again = (carry_on(replace(begun, ends=order), x) for order in (ends, ends[::-1]))
    assert (first.theta == again.theta).all()
    assert first.log_likelihood == pytest.approx(begun.log_likelihood, abs=1e-4)
    assert first.lead > 0.1


def test_an_optimisation_cut_short_is_not_called_converged() -> None:
    model = clear()
    x = model.sample(np.random.default_rng(3), 1500).x
    prompt = np.arange(1500) // 30
    layout = layout_for(x, 1, model.scale)
    cut = fit(x, prompt, layout, starts=1, iterations=2)
    assert fit(x, prompt, layout, starts=2).converged
    # The start's own warm start counts too, so the cut is made from the start's vector.
    assert not replace(cut, promised_gain=5.0).converged
    assert cut.promised_gain >= 0


def test_bootstrap_over_prompts_agrees_with_the_sandwich() -> None:
    found, x, prompt = fitted(clear())
    errors = uncertainty(found, x, prompt)
    drawn = bootstrap(found, errors, x, prompt, seed=4, replicates=40)
    same = bootstrap(found, errors, x, prompt, seed=4, replicates=40, jobs=2)
    assert (drawn == same).all()
    profiles = np.array([profile(found.layout.model(theta)).flat() for theta in drawn])
    by_bootstrap = Profile.unflat(profiles.std(axis=0))
    by_delta = Profile.unflat(profile_errors(found, errors.by_prompts))
    # 40 replicates know a standard deviation to 11 %; the middle of many ratios is closer.
    for name in ("turning", "noise", "fall", "rise"):
        ratio = getattr(by_bootstrap, name)[:3] / getattr(by_delta, name)[:3]
        assert np.median(ratio) == pytest.approx(1.0, abs=0.35), name


def test_profile_is_that_of_the_samples() -> None:
    model = two_classes(SOFTPLUS)
    paths = model.sample(np.random.default_rng(5), 60_000)
    found = profile(model)
    steps = np.diff(paths.G, axis=1)
    rises = np.arange(1, model.w) > paths.turning[:, None]
    for name, where, sign in (("fall", ~rises, -1), ("rise", rises, 1)):
        for k in range(model.K):
            own = sign * steps[where[:, k], k]
            if len(own) < 100:
                continue
            error = own.std() / np.sqrt(len(own))
            assert getattr(found, name)[k] == pytest.approx(own.mean(), abs=4 * error)
            share = getattr(found, f"{name}_wrong")[k]
            assert share == pytest.approx((own < 0).mean(), abs=4 * 0.5 / np.sqrt(len(own)))
    assert Profile.unflat(found.flat()).flat() == pytest.approx(found.flat(), nan_ok=True)


def test_statuses_say_what_is_not_known() -> None:
    part = replace(
        clear().components[0],
        noise_sd=np.zeros(4),
        turning=np.array([0.0, 0.0, 0.01, 0.99]),
        drift_mean=np.array([0.5, 0.4, -0.3]),
    )
    found, x, prompt = fitted(ChangePointModel((part,), np.ones(1)))
    status = {(p.name, p.index): p.status for p in uncertainty(found, x, prompt).parameters}
    assert status["noise_sd", 3] is Status.CONVENTION
    assert status["noise_sd", 1] is Status.MAY_BE_ZERO
    assert status["rise_mean", 0] is Status.FEW_TOKENS
    assert status["start_mean", 0] is Status.IDENTIFIED
    assert status["drift_mean", 0] is Status.IDENTIFIED
    # A fall of -0.3 is a rise: the model must say that it cannot.
    assert status["drift_mean", 2] in (Status.AT_BOUND, Status.FEW_TOKENS)
    assert {Status.AT_BOUND, Status.FEW_TOKENS, Status.NOT_IDENTIFIED} & {
        s for (name, _), s in status.items() if name == "turning"
    }


def test_the_final_noise_is_not_identified() -> None:
    """Both conventions fit equally well: nothing in the data tells them apart."""
    model = clear()
    x = model.sample(np.random.default_rng(3), 2000).x
    prompt = np.arange(2000) // 40
    ends = [
        fit(x, prompt, layout_for(x, 1, model.scale, final_noise=convention), starts=4)  # type: ignore[arg-type]
        for convention in ("none", "tied")
    ]
    # The tie forces the last steps' spreads up to the noise, which this model's allow.
    assert len(x) * abs(ends[0].log_likelihood - ends[1].log_likelihood) < 3.0
    noise = [end.model.components[0].noise_sd[-1] for end in ends]
    assert noise[0] == 0
    assert noise[1] > 0.2


@pytest.mark.slow
def test_layer_types_find_their_jump() -> None:
    model = with_types(one_class())
    x = model.sample(np.random.default_rng(6), 4000).x
    prompt = np.arange(4000) // 40
    layout = layout_for(x, 1, model.scale, types=["global", "local"] * 2 + ["global"])
    found = fit(x, prompt, layout, starts=3)
    plain = fit(x, prompt, layout_for(x, 1, model.scale), starts=3)
    assert found.model.components[0].jump_sd == pytest.approx([0.3], abs=0.06)
    assert len(x) * (found.log_likelihood - plain.log_likelihood) > 10


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((400, 4), 1.0), "same entropy"),
        (np.where(np.eye(400, 4) > 0, np.nan, 1.0), "4 value.s. are NaN"),
        (np.empty((0, 4)), "0 tokens for"),
        (np.ones((400, 1)), "two or more"),
        (np.random.default_rng(0).random((10, 4)), "10 tokens for"),
    ],
)
def test_bad_tokens_say_why(x: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        layout_for(x, 1, Scale())


def test_bad_arguments_say_why() -> None:
    x = clear().sample(np.random.default_rng(0), 300).x
    with pytest.raises(UserError, match="layer types"):
        layout_for(x, 1, Scale(), types=["a"])
    found, x, _ = fitted(clear(), 300)
    errors = uncertainty(found, x, np.arange(len(x)))
    with pytest.raises(UserError, match="at least two"):
        uncertainty(found, x, np.zeros(len(x)))
    with pytest.raises(UserError, match="at least two"):
        bootstrap(found, errors, x, np.zeros(len(x)), seed=0, replicates=5)


def test_excess_of_the_bayes_layer_survives_the_fit() -> None:
    """What is learned serves its purpose: decisions on new tokens are as good as the truth's."""
    from stopping.changepoint import posterior

    model = clear()
    found, _, _ = fitted(model, 2000)
    fresh = model.sample(np.random.default_rng(9), 20_000)
    loss = {
        name: fresh.excess(posterior(m, fresh.x).best_layer).mean()
        for name, m in (("fitted", found.model), ("true", model))
    }
    last = (at(fresh.G, np.full(fresh.n, 3)) - at(fresh.G, fresh.turning)).mean()
    assert loss["fitted"] - loss["true"] < 0.02 * (last - loss["true"])
