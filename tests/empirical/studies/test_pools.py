"""Pools in worlds whose truth is known: which must win, and a null in which nothing may."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from empirical.studies.pools import Pools, Settings
from empirical.studies.pools.data import Head, Said, Tokens, temperatures
from empirical.studies.pools.linear import LinearPool, Standard, fit_gated, fit_global
from empirical.studies.pools.results import (
    ALL,
    ALONE,
    BASELINES,
    GATED,
    HINDSIGHT,
    LINEAR,
    LOG_GATED,
    LOG_LINEAR,
    OWN,
)
from empirical.studies.pools.study import Parts, pool
from empirical.studies.pools.tables import MATERIAL, sentence

WIDTH, ENTRIES, LAYERS, PER_PROMPT = 10, 30, 3, 10
HEAD = Head(torch.randn(ENTRIES, WIDTH, generator=torch.Generator().manual_seed(5)))
Truth = Callable[[Tensor], Tensor]
"""From inputs (n, layers, hidden) to the distribution of the token, (n, entries)."""


def softmax(x: Tensor) -> Tensor:
    return HEAD.logits(x).softmax(1)


def world(truth: Truth, n: int, seed: int) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, LAYERS, WIDTH, generator=generator)
    token = torch.multinomial(truth(x), 1, generator=generator)[:, 0]
    return Tokens(np.arange(n, dtype=np.int32) // PER_PROMPT + 1000 * seed, token, x)


def pools_in(truth: Truth, epochs: int = 8) -> Pools:
    parts = Parts(*(world(truth, n, seed) for seed, n in enumerate((2000, 800, 1500))))
    return pool(HEAD, parts, Settings(LAYERS, rank=2, epochs=epochs))


def gains(found: Pools, name: str) -> float:
    """Upper end of what the earlier layers change: below zero is a gain."""
    earlier = found[name].earlier
    assert earlier is not None
    return earlier.high


def own(x: Tensor) -> Tensor:
    return softmax(0.7 * x[:, -1])


def summed(x: Tensor) -> Tensor:
    return softmax(0.7 * x[:, -1] + 0.7 * x[:, 0])


def mixed(x: Tensor) -> Tensor:
    return 0.5 * softmax(x[:, -1]) + 0.5 * softmax(x[:, 1])


def told(x: Tensor) -> Tensor:
    """The layer whose entropy is lowest is right."""
    entropies = []
    for layer in range(LAYERS):
        p = softmax(x[:, layer])
        entropies.append(-(p * p.log()).sum(1))
    chosen = torch.stack(entropies, 1).argmin(1)
    return softmax(x[torch.arange(len(x)), chosen])


def reworded(x: Tensor) -> Tensor:
    """The final state says it all, in another wording: two of its directions are turned round."""
    turn = torch.eye(WIDTH)
    turn[0, 0] = turn[1, 1] = -1.0
    return softmax(x[:, -1] @ turn)


def test_null_nothing_is_gained_where_the_final_layer_knows_all() -> None:
    found = pools_in(own)
    for name in BASELINES:
        assert gains(found, name) > -MATERIAL, name
        assert found[name].earlier is not None
    assert found[ALONE].log_loss_vs_own.high > -MATERIAL
    assert "None of 5" in sentence(found)
    # Hindsight wins all the same: that is no sign of anything to gain.
    assert found[HINDSIGHT].log_loss_vs_own.high < -0.05
    assert found.temperature[-1] == pytest.approx(1 / 0.7, rel=0.2)


@pytest.mark.slow
def test_log_linear_pool_finds_a_sum_of_logits() -> None:
    found = pools_in(summed)
    assert gains(found, LOG_LINEAR) < -0.3
    assert found[LOG_LINEAR].log_loss.estimate < found[LINEAR].log_loss.estimate - 0.1
    assert found[LOG_LINEAR].accuracy_vs_own.low > 0
    # It is in the family: nothing is left but what training on 2,000 tokens costs.
    test = world(summed, 1500, 2)
    truth = -summed(test.x).gather(1, test.token[:, None]).log().mean()
    assert found[LOG_LINEAR].log_loss.estimate == pytest.approx(float(truth), abs=0.03)


def test_linear_pool_finds_a_mixture() -> None:
    found = pools_in(mixed, epochs=2)
    assert gains(found, LINEAR) < -0.2
    assert found[LINEAR].log_loss.estimate < found[LOG_LINEAR].log_loss.estimate


@pytest.mark.slow
def test_weights_from_the_entropies_find_the_layer_that_is_sure() -> None:
    found = pools_in(told)
    assert found[GATED].log_loss.high < found[LINEAR].log_loss.low
    assert found[LOG_GATED].log_loss.estimate < found[LOG_LINEAR].log_loss.estimate - 0.1
    assert gains(found, GATED) < -0.2


@pytest.mark.slow
def test_adaptation_of_the_wording_is_no_gain_of_earlier_layers() -> None:
    """A correction from all layers beats the final layer, and not the same from it alone."""
    found = pools_in(reworded, epochs=30)
    assert found[ALL].log_loss_vs_own.high < -0.3
    assert found[ALONE].log_loss_vs_own.high < -0.3
    assert gains(found, ALL) > -MATERIAL


def test_weights_of_a_linear_pool_are_those_of_the_mixture() -> None:
    """At the largest likelihood a step of expectation and maximisation changes nothing."""
    rng = np.random.default_rng(0)
    n = 4000
    log_prob = np.log(rng.uniform(0.01, 1.0, (n, 3)))
    said = Said(log_prob, rng.random((n, 3)), log_prob > -0.1)
    fitted = fit_global(said)
    nothing = np.zeros((n, 0))
    weights = np.exp(fitted.log_weights(nothing))
    shares = weights * np.exp(log_prob + fitted.log_loss(log_prob, nothing)[:, None])
    np.testing.assert_allclose(shares.mean(axis=0), weights[0], atol=1e-4)


def test_entropies_that_say_nothing_leave_global_weights() -> None:
    rng = np.random.default_rng(1)
    parts = [
        Said(np.log(rng.uniform(0.01, 1.0, (n, 3))), rng.random((n, 3)), rng.random((n, 3)) < 0.5)
        for n in (2000, 1000)
    ]
    standard = Standard.of(parts[0].entropy)
    gated = fit_gated(*parts, standard)
    features = standard(parts[1].entropy)
    loss = gated.log_loss(parts[1].log_prob, features).mean()
    alone = fit_global(parts[0]).log_loss(parts[1].log_prob, features[:, :0]).mean()
    assert abs(loss - alone) < 0.01
    assert isinstance(gated, LinearPool)


def test_results_repeat_and_name_their_rows() -> None:
    parts = Parts(*(world(own, 200, seed) for seed in range(3)))
    settings = Settings(LAYERS, rank=1, epochs=1)
    found = pool(HEAD, parts, settings)
    assert found == pool(HEAD, parts, settings)
    assert found.records()[1]["name"] == OWN
    assert "from earlier layers" in str(found)
    # Prompts that share a group are one cluster.
    groups = {int(p): "a" if p % 2 else "b" for p in parts.test.prompt}
    assert pool(HEAD, parts, settings, clusters=groups).clusters == 2


def test_a_head_that_is_half_precision_reads_in_single() -> None:
    half = replace(HEAD, weight=HEAD.weight.bfloat16())
    tokens = world(own, 300, 0)
    assert half.logits(tokens.x[:, 0]).dtype == torch.float32
    t = temperatures(half, tokens, 0)
    torch.testing.assert_close(t, temperatures(HEAD, tokens, 0), rtol=0.05, atol=0)
