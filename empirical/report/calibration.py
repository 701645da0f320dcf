"""What a calibrated lens changes: the same tokens through the raw lens and through it.

Two trace files of one model and mode, one of the raw lens and one of a calibrated one, are cut to
the tokens that both hold. Every interval uses the same resamples of prompts, so before and after
are paired. Only reference answers can say what calibration does to log-loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from empirical.analysis.projection_noise import MeasuredNoise, measured_noise, shared_tokens
from empirical.analysis.validate.core import oracle_layer
from empirical.intervals import Ratio, mean
from empirical.traces.files import Traces
from empirical.traces.window import Sample, take_sample
from stopping.rules import Search
from stopping.support.statistics import Interval
from stopping.types import FloatArray

RAW = "raw"


@dataclass(frozen=True)
class Side:
    """The search on one lens, 95 % intervals over clusters.

    Attributes
    ----------
    window_gap : Interval
        Log-loss minus entropy, mean over the window's layers, nats; A0 says 0.
    chosen_gap : Interval
        The same at the layers that the search chooses.
    moved : Interval
        Share of tokens that the search moves.
    log_loss, accuracy : Interval
        Of the search minus the final layer's, nats and share.
    hindsight : Interval
        Log-loss of the best layer in hindsight minus the final layer's, nats.
    """

    lens: str
    window_gap: Interval
    chosen_gap: Interval
    moved: Interval
    log_loss: Interval
    accuracy: Interval
    hindsight: Interval


@dataclass(frozen=True)
class CalibrationEffect:
    """Raw and calibrated lens on the same reference tokens.

    Attributes
    ----------
    removed : Interval
        Share of the search's loss against the final layer that calibration removes.
    noise : MeasuredNoise
        Projection noise of the raw lens by layer, measured against the calibrated one.
    """

    model: str
    tokens: int
    prompts: int
    K: int
    raw: Side
    calibrated: Side
    removed: Interval
    noise: MeasuredNoise


def calibration_effects(
    traces: Sequence[Traces], window: int, seed: int, replicates: int
) -> tuple[CalibrationEffect, ...]:
    """Compare every calibrated reference file with the raw one of its model, where there is one.

    Files belong together if their weights and prompts are the same. A pair that shares fewer than
    two prompts, which allow no interval, or one layer only is left out.
    """
    reference = [t for t in traces if t.provenance.mode == "reference"]
    raw = {_source(t): t for t in reference if t.provenance.lens == RAW}
    effects = []
    for calibrated in reference:
        uncalibrated = raw.get(_source(calibrated))
        if calibrated.provenance.lens == RAW or uncalibrated is None:
            continue
        before, after = shared_tokens(uncalibrated, calibrated)
        K = min(window, len(before.layers) - 1, len(after.layers) - 1)
        if len(np.unique(before.prompt)) < 2 or K < 1:
            continue
        effects.append(_effect(before, after, K, seed, replicates))
    return tuple(effects)


def _source(traces: Traces) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    origin = traces.provenance
    return origin.model, origin.prompts_hash, tuple(sorted(origin.weights.items()))


def _effect(before: Traces, after: Traces, K: int, seed: int, replicates: int) -> CalibrationEffect:
    samples = [take_sample(traces, K, seed, replicates) for traces in (before, after)]
    losses = [_search_loss(sample) for sample in samples]
    removed = samples[0].intervals({"removed": Ratio(losses[0] - losses[1], losses[0])})["removed"]
    return CalibrationEffect(
        model=before.provenance.model,
        tokens=len(before),
        prompts=samples[0].prompts,
        K=K,
        raw=_side(samples[0]),
        calibrated=_side(samples[1]),
        removed=removed,
        noise=measured_noise(before, after, seed, replicates),
    )


def _side(sample: Sample) -> Side:
    rows = np.arange(len(sample.x))
    choice, oracle = Search(K=sample.x.shape[1] - 1).choose(sample.x), oracle_layer(sample)
    gap = sample.log_loss - sample.x
    right = sample.top1 == sample.traces.token[:, None]
    found = sample.intervals(
        {
            "window_gap": mean(gap.mean(axis=1)),
            "chosen_gap": mean(gap[rows, choice]),
            "moved": mean(choice != sample.x.shape[1] - 1),
            "log_loss": mean(_search_loss(sample)),
            "accuracy": mean(right[rows, choice].astype(np.float64) - right[:, -1]),
            "hindsight": mean(sample.log_loss[rows, oracle] - sample.log_loss[:, -1]),
        }
    )
    return Side(lens=sample.traces.provenance.lens, **found)


def _search_loss(sample: Sample) -> FloatArray:
    """Log-loss of the search minus the final layer's, per token."""
    choice = Search(K=sample.x.shape[1] - 1).choose(sample.x)
    loss: FloatArray = sample.log_loss[np.arange(len(choice)), choice] - sample.log_loss[:, -1]
    return loss
