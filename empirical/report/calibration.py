"""What a calibrated lens changes: the same tokens through the raw lens and through it.

Two trace files of one model and mode, one of the raw lens and one of a calibrated one, are cut to
the tokens that both hold. Every interval uses the same resamples of prompts, so before and after
are paired. Only reference answers can say what calibration does to log-loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from empirical.analysis.projection_noise import MeasuredNoise, measured_noise, shared_tokens
from empirical.analysis.side_by_side import Side, search_columns, side_by_side
from empirical.intervals import Ratio
from empirical.traces.files import Traces
from empirical.traces.window import take_sample
from stopping.support.statistics import Interval

RAW = "raw"


@dataclass(frozen=True)
class CalibrationEffect:
    """Raw and calibrated lens on the same reference tokens.

    Attributes
    ----------
    lens : str
        The calibrated one.
    removed : Interval
        Share of the search's loss against the final layer that calibration removes.
    noise : MeasuredNoise
        Projection noise of the raw lens by layer, measured against the calibrated one.
    """

    model: str
    lens: str
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
    raw = {t.provenance.texts: t for t in reference if t.provenance.lens == RAW}
    effects = []
    for calibrated in reference:
        uncalibrated = raw.get(calibrated.provenance.texts)
        if calibrated.provenance.lens == RAW or uncalibrated is None:
            continue
        before, after = shared_tokens(uncalibrated, calibrated)
        K = min(window, len(before.layers) - 1, len(after.layers) - 1)
        if len(np.unique(before.prompt)) < 2 or K < 1:
            continue
        effects.append(_effect(before, after, K, seed, replicates))
    return tuple(effects)


def _effect(before: Traces, after: Traces, K: int, seed: int, replicates: int) -> CalibrationEffect:
    compared = side_by_side(before, after, K, seed, replicates)
    samples = [take_sample(traces, K, seed, replicates) for traces in (before, after)]
    losses = [search_columns(sample)["log_loss"] for sample in samples]
    removed = samples[0].intervals({"removed": Ratio(losses[0] - losses[1], losses[0])})["removed"]
    return CalibrationEffect(
        model=before.provenance.model,
        lens=after.provenance.lens,
        tokens=compared.tokens,
        prompts=compared.prompts,
        K=K,
        raw=compared.first,
        calibrated=compared.second,
        removed=removed,
        noise=measured_noise(before, after, seed, replicates),
    )
