"""The final layer at its own temperature: freed where too sharp, left alone where right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from empirical.analysis.final_reading import READING, with_own_temperature
from empirical.analysis.validate import validate
from empirical.logits.temperatures import INVERSE_TEMPERATURES, tempered_entropy
from empirical.traces.files import Traces, write_traces
from stopping.cli.main import exit_code, group
from stopping.errors import UserError
from stopping.rules import Search
from stopping.types import FloatArray

PROMPTS, TOKENS, ENTRIES = 60, 20, 30


def log_softmax(z: FloatArray) -> FloatArray:
    shifted = z - z.max(-1, keepdims=True)
    found: FloatArray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return found


def world(sharpness: float, seed: int = 0) -> Traces:
    """Layer 1 knows the truth; the final one knows less, and says it `sharpness` times as sharply.

    Tokens are drawn from layer 1; at sharpness 1 the final layer is calibrated.
    """
    rng = np.random.default_rng(seed)
    n = PROMPTS * TOKENS
    truth = 2.0 * rng.normal(size=(n, ENTRIES))
    z = np.stack([truth, sharpness * (truth + 2.0 * rng.normal(size=truth.shape)) / 2], axis=1)
    log_p = log_softmax(z)
    token = (rng.random((n, 1)) < np.exp(log_p[:, 0]).cumsum(1)).argmax(1)
    rows = np.arange(n)
    return Traces.of(
        -(np.exp(log_p) * log_p).sum(2),
        log_prob=log_p[rows, :, token],
        top1=z.argmax(2),
        token=token,
        prompt=np.repeat(np.arange(PROMPTS), TOKENS),
        tempered=np.stack([log_softmax(b * z[:, 1])[rows, token] for b in INVERSE_TEMPERATURES], 1),
    )


@pytest.mark.parametrize("inverse", [0.65, 0.9, 1.1, 1.35])
def test_entropies_at_other_temperatures_come_from_one_tokens_log_probabilities(
    inverse: float,
) -> None:
    rng = np.random.default_rng(1)
    z = 2.0 * rng.normal(size=(500, 400))
    kept = np.stack([log_softmax(b * z)[:, 7] for b in INVERSE_TEMPERATURES], axis=1)
    p = log_softmax(inverse * z)
    exact = -(np.exp(p) * p).sum(1)
    error = tempered_entropy(kept, inverse) - exact
    assert np.abs(error).max() < 0.1
    assert np.abs(error).mean() < 0.01
    # Negative control: the entropy as it is misses by more.
    assert np.abs(tempered_entropy(kept, 1.0) - exact).mean() > 0.1


def test_a_search_that_an_untempered_final_layer_holds_is_freed() -> None:
    traces = world(sharpness=1.6)
    read = with_own_temperature(traces)
    before, after = (validate(t, [Search(1)], K=1, replicates=200) for t in (traces, read))
    held, freed = (found["search"].overall for found in (before, after))
    assert held.moved.estimate < 0.6 < 0.8 < freed.moved.estimate
    assert freed.log_loss_vs_final.high < held.log_loss_vs_final.low
    # What is decoded is as it was: of the final layer, and of every other.
    assert after.final.overall.log_loss == before.final.overall.log_loss
    np.testing.assert_array_equal(read.log_prob, traces.log_prob)
    np.testing.assert_array_equal(read.entropy[:, :-1], traces.entropy[:, :-1])
    assert READING in read.provenance.lens


def test_the_reading_promises_what_the_final_layer_pays_at_that_temperature() -> None:
    traces = world(sharpness=1.5)
    inverse = np.asarray(INVERSE_TEMPERATURES)
    paid = -traces.tempered[:, inverse == 0.6].mean()
    read = with_own_temperature(traces).entropy[:, -1].mean()
    raw = traces.entropy[:, -1].mean()
    assert abs(read - paid) < 0.1 < paid - raw


def test_negative_control_a_calibrated_final_layer_is_read_as_it_is() -> None:
    rng = np.random.default_rng(3)
    n = PROMPTS * TOKENS
    z = 1.5 * rng.normal(size=(n, ENTRIES))
    log_p = log_softmax(z)
    token = (rng.random((n, 1)) < np.exp(log_p).cumsum(1)).argmax(1)
    rows = np.arange(n)
    entropy = -(np.exp(log_p) * log_p).sum(1)
    traces = Traces.of(
        np.stack([entropy, entropy], axis=1),
        log_prob=np.stack([log_p[rows, token]] * 2, axis=1),
        tempered=np.stack([log_softmax(b * z)[rows, token] for b in INVERSE_TEMPERATURES], 1),
        prompt=np.repeat(np.arange(PROMPTS), TOKENS),
    )
    # Of an entropy at a fitted temperature, `sqrt(Var z / n)` is the standard error.
    error = np.sqrt(((np.exp(log_p) * log_p**2).sum(1) - entropy**2).mean() / n)
    assert np.abs(with_own_temperature(traces).entropy[:, -1] - entropy).mean() < 4 * error < 0.2


def test_what_cannot_be_read_so_is_refused() -> None:
    traces = world(1.0)
    n = len(traces)
    own = replace(traces, provenance=replace(traces.provenance, mode="generated"))
    corrected = replace(traces, log_prob=traces.log_prob - np.float32(0.5))
    for wrong, why in (
        (replace(traces, tempered=np.empty((n, 0), np.float32)), "several temperatures"),
        (own, "greedy"),
        (traces.select(traces.prompt == 0), "but one"),
        (corrected, "already"),
    ):
        with pytest.raises(UserError, match=why):
            with_own_temperature(wrong)


def test_the_option_says_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "world.parquet"
    write_traces(path, world(1.6))
    for command in ("validate", "audit"):
        words = [command, str(path), "--window", "1", "--replicates", "100", "--calibrate-final"]
        assert exit_code(lambda words=words: group.main(words, standalone_mode=False)) == 0
        assert READING in " ".join(capsys.readouterr().out.split())
