"""The final layer at its own temperature, and hindsight, on distributions that are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from empirical.analysis.validate import validate
from empirical.analysis.validate.rivals import AS_IT_IS, OWN_TEMPERATURE
from empirical.logits.hindsight import expected_gain
from empirical.logits.temperatures import INVERSE_TEMPERATURES
from empirical.traces.files import Traces
from stopping.rules import FixedOffset, Search
from stopping.types import FloatArray

PROMPTS, TOKENS, LAYERS, ENTRIES = 60, 20, 4, 30
RULES = [Search(3), FixedOffset(1)]


def worlds(source: int = -1, sharpness: float = 1.0, seed: int = 0) -> Traces:
    """Tokens drawn from layer `source`, at an inverse temperature of `1 / sharpness`."""
    rng = np.random.default_rng(seed)
    n = PROMPTS * TOKENS
    common = 1.5 * rng.normal(size=(n, 1, ENTRIES))
    z: FloatArray = common + 1.5 * rng.normal(size=(n, LAYERS, ENTRIES))
    log_p = z - np.log(np.exp(z).sum(2, keepdims=True))
    p = np.exp(z[:, source] / sharpness)
    token = (rng.random((n, 1)) < np.cumsum(p / p.sum(1, keepdims=True), 1)).argmax(1)
    kept = [i * z[:, -1] for i in INVERSE_TEMPERATURES]
    warm = [w[np.arange(n), token] - np.log(np.exp(w).sum(1)) for w in kept]
    logits = torch.from_numpy(z).permute(2, 1, 0)
    return Traces.of(
        -(np.exp(log_p) * log_p).sum(2),
        log_prob=log_p[np.arange(n), :, token],
        top1=z.argmax(2),
        token=token,
        prompt=np.repeat(np.arange(PROMPTS), TOKENS),
        hindsight_gain=expected_gain(logits, logits.logsumexp(0)).T.numpy(),
        tempered=np.stack(warm, axis=1),
    )


def test_the_own_temperature_gains_where_the_final_layer_is_too_sharp() -> None:
    found = validate(worlds(sharpness=1.5), RULES, K=3, replicates=200)
    (rival,) = found.rivals
    assert rival.name == OWN_TEMPERATURE
    assert rival.comparison == "better"
    assert found[OWN_TEMPERATURE] is rival
    assert found.compared == len(RULES) + 1
    # The temperature is fitted on other prompts: no better than the best one on all of them.
    traces = worlds(sharpness=1.5)
    best = float((traces.tempered[:, 2] - traces.tempered.max(axis=1)).mean())
    assert best < rival.overall.log_loss_vs_final.estimate < 0
    assert rival.overall.accuracy_vs_final.estimate == 0.0


def test_negative_control_a_calibrated_final_layer_has_nothing_to_gain() -> None:
    (rival,) = validate(worlds(), RULES, K=3, replicates=200).rivals
    assert rival.comparison == "undecided"
    assert rival.overall.log_loss_vs_final.estimate == pytest.approx(0.0, abs=0.01)


def test_both_conventions_where_a_lens_corrects_the_final_layer() -> None:
    traces = worlds(sharpness=1.5)
    log_prob = traces.log_prob.copy()
    log_prob[:, -1] = traces.tempered[:, INVERSE_TEMPERATURES.index(0.6)]
    found = validate(replace(traces, log_prob=log_prob), RULES, K=3, replicates=200)
    assert [row.name for row in found.rivals] == [AS_IT_IS, OWN_TEMPERATURE]
    own = found[AS_IT_IS].overall.log_loss_vs_final
    assert own.estimate == pytest.approx(float((log_prob[:, -1] - traces.log_prob[:, -1]).mean()))
    assert own.estimate > 0


def test_old_traces_have_no_rival_and_no_null() -> None:
    nothing = np.empty((PROMPTS * TOKENS, 0), np.float32)
    found = validate(
        replace(worlds(), tempered=nothing, hindsight_gain=nothing), RULES, K=3, replicates=200
    )
    assert found.rivals == ()
    assert found.ceiling.expected is None
    assert found.ceiling.gain.estimate > 0


@pytest.mark.parametrize("K", [1, 3])
def test_hindsight_wins_what_is_expected_where_the_final_layer_is_right(K: int) -> None:
    found = validate(worlds(), [FixedOffset(1)], K=K, replicates=400).ceiling
    assert found.expected is not None
    assert found.beyond is not None
    assert found.gain.estimate > 0.1
    assert 0.0 in found.beyond
    assert found.explained == pytest.approx(1.0, abs=0.1)


def test_negative_control_an_earlier_layer_that_knows_more() -> None:
    found = validate(worlds(source=1), [FixedOffset(1)], K=3, replicates=400).ceiling
    assert found.beyond is not None
    assert found.beyond.low > 0.2
