"""Tests of misfit, and statuses that listen: what they say of worlds whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from stopping.changepoint import ChangePointModel, Component
from stopping.changepoint.estimate import Estimate, fit_near, layout_for
from stopping.changepoint.evidence import Evidence, heard, held_out_gain, walk_of
from stopping.changepoint.inference import Status, uncertainty
from stopping.changepoint.misfit import CLIP, SHARED, TAILS, Misfit, _mean_fourth, holm, score_tests
from stopping.support.statistics import Interval
from stopping.types import FloatArray

TURNING = np.array([0.1, 0.2, 0.3, 0.4])


def world(turning: FloatArray = TURNING) -> ChangePointModel:
    part = Component(
        start_mean=3.0,
        start_sd=0.5,
        drift_mean=np.full(3, 0.4),
        drift_sd=np.full(3, 0.3),
        rise_mean=np.full(3, 1.0),
        rise_sd=np.full(3, 0.3),
        noise_sd=np.array([0.3, 0.3, 0.3, 0.0]),
        turning=turning,
    )
    return ChangePointModel((part,), np.ones(1))


def fitted(x: FloatArray, near: ChangePointModel) -> Estimate:
    layout = layout_for(x, 1, near.scale)
    return fit_near(x, layout, layout.vector(near))


def prompts_of(x: FloatArray) -> np.ndarray:
    return np.arange(len(x)) // 40


def test_holm_against_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == (True, False, False, True)
    assert holm([0.01, 0.02, 0.03], 0.05) == (True, True, True)
    assert holm([0.9], 0.05) == (False,)
    assert Misfit.of({"a": 0.001, "b": 0.9}).named == ("a",)
    assert not Misfit.of({"a": 0.04, "b": 0.9}).found


def test_the_mean_of_the_clipped_polynomial() -> None:
    def integrand(t: float) -> float:
        c = float(np.clip(t, -CLIP, CLIP))
        return float((c**4 - 6 * c**2) * norm.pdf(t))

    assert _mean_fourth() == pytest.approx(quad(integrand, -12, 12, points=[-CLIP, CLIP])[0])


def departed(kind: str, n: int, rng: np.random.Generator) -> FloatArray:
    """Tokens of the world, with noise that neighbours share or with tails, of the same variance."""
    latent, noise, _ = world().components[0].sample(rng, n)
    if kind == "shared":
        noise[:, :3] = (
            0.3 * rng.standard_normal((n, 1)) * np.sqrt(0.8) + np.sqrt(0.2) * noise[:, :3]
        )
    if kind == "tails":
        noise[:, :3] = 0.3 * rng.standard_t(3, (n, 3)) / np.sqrt(3)
    return latent + noise


@pytest.mark.slow
def test_tails_are_named_and_the_model_itself_is_not() -> None:
    p = {kind: [] for kind in ("itself", "tails")}  # type: ignore[var-annotated]
    for seed in range(8):
        for kind, found in p.items():
            x = departed(kind, 1600, np.random.default_rng(seed))
            found.append(score_tests(fitted(x, world()), x, prompts_of(x)))
    assert all(found[TAILS] < 0.01 for found in p["tails"])
    # Each at 5 %: four or more of sixteen have a probability below one in a hundred.
    assert sum(value < 0.05 for found in p["itself"] for value in found.values()) < 4
    assert {*p["itself"][0]} == {SHARED, TAILS}


def both(x: FloatArray, near: ChangePointModel) -> tuple[dict[str, set[Status]], bool]:
    half = x[: len(x) // 2]
    first, whole = fitted(half, near), fitted(x, near)
    rest, prompt = x[len(half) :], prompts_of(x)
    evidence = held_out_gain(first.model, walk_of(first, half), rest, prompt[len(half) :])
    found = heard(whole, uncertainty(whole, x, prompt), evidence, x)
    said: dict[str, set[Status]] = {}
    for parameter in found:
        said.setdefault(parameter.name, set()).add(parameter.status)
    return said, evidence.turns


def test_nothing_turns_where_nothing_is_perturbed() -> None:
    x = world(np.eye(4)[-1]).sample(np.random.default_rng(0), 1600).x
    # From a start where tokens turn, which standard errors alone would then call identified.
    found, turns = both(x, world())
    assert not turns
    for name in ("turning", "rise_mean", "rise_sd", "drift_mean", "drift_sd"):
        assert Status.IDENTIFIED not in found[name], name
    assert Status.IDENTIFIED in found["noise_sd"]


def test_a_clear_turn_stays_identified_and_a_layer_without_turns_may_be_zero() -> None:
    x = world().sample(np.random.default_rng(1), 3200).x
    found, turns = both(x, world())
    assert turns
    assert found["turning"] == {Status.IDENTIFIED}
    none_here = np.array([0.0, 0.25, 0.3, 0.45])
    x = world(none_here).sample(np.random.default_rng(2), 3200).x
    whole = fitted(x, world())
    errors = uncertainty(whole, x, prompts_of(x))
    evidence = held_out_gain(world(none_here), walk_of(whole, x), x, prompts_of(x))
    first = next(p for p in heard(whole, errors, evidence, x) if p.name == "turning")
    assert first.index == 0
    assert first.status is not Status.IDENTIFIED
    assert 0.0 in first.interval or first.estimate < 1e-3


def test_a_probability_without_information_is_not_identified() -> None:
    """At a bound the likelihood is flat, and errors of zero are no certainty."""
    x = world().sample(np.random.default_rng(1), 800).x
    whole = fitted(x, world())
    errors = uncertainty(whole, x, prompts_of(x))
    flat = replace(
        errors,
        parameters=tuple(
            replace(p, by_information=0.0, by_prompts=0.0, status=Status.IDENTIFIED)
            if p.name == "turning"
            else p
            for p in errors.parameters
        ),
    )
    evidence = Evidence(Interval(1.0, 0.5, 1.5, 0.95))
    found = {p.status for p in heard(whole, flat, evidence, x) if p.name == "turning"}
    assert found == {Status.NOT_IDENTIFIED}


def test_one_prompt_shows_nothing() -> None:
    x = world().sample(np.random.default_rng(0), 40).x
    assert not held_out_gain(world(), world(), x, np.zeros(40, np.intp)).turns
