r"""Projection noise, measured: the raw lens against a calibrated one on the same tokens.

The theory writes the observed entropy as `x[l] = G[l] + eps[l]`. Taking a calibrated lens as what a
noiseless lens would read, the noise of the raw lens is

    eps[l] = (raw entropy at l) - (calibrated entropy at l)        nats, per token.

Its *mean* by layer is the over-confidence (negative: the raw lens promises too little loss). Its
*deviation* is what is left after a correction per layer, and its *correlation between adjacent
layers* says how much of it cancels in the comparisons `x[l-1] < x[l]`, which are all that the
search looks at (T14; T10 takes independent noise, correlation 0).

What this measures is the difference of two lenses. A calibrated lens is right on the average and
not on each token, so `eps` holds the calibrated lens's own error as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from empirical.intervals import LEVEL
from empirical.traces.files import Traces
from stopping.errors import UserError
from stopping.support.statistics import Interval, multiplicities, percentile_interval
from stopping.types import FloatArray, IntArray

QUANTILES = (0.05, 0.5, 0.95)
_BLOCK = 32
# Entropies stored as float16 are off by up to 0.004 nats: less than this is no projection noise.
_ROUNDING = 0.01


@dataclass(frozen=True)
class LayerNoise:
    """Noise of the raw lens at one layer, nats, 95 % intervals over prompts.

    Attributes
    ----------
    mean, deviation : Interval
        Mean and standard deviation over tokens.
    quantiles : tuple of Interval
        At the levels `QUANTILES`.
    next_correlation : Interval or None
        Correlation with the noise at the next layer of the table; None at the last, and where
        either does not vary.
    """

    layer: int
    mean: Interval
    deviation: Interval
    quantiles: tuple[Interval, ...]
    next_correlation: Interval | None


@dataclass(frozen=True)
class MeasuredNoise:
    """Noise of the raw lens by layer, over `tokens` tokens of `prompts` prompts."""

    lens: str
    tokens: int
    prompts: int
    layers: tuple[LayerNoise, ...]


def measured_noise(
    raw: Traces, calibrated: Traces, seed: int = 0, replicates: int = 500
) -> MeasuredNoise:
    """Compare traces of one run with the raw and with a calibrated lens, at the shared layers.

    Raises
    ------
    UserError
        If they are not of the same tokens and weights, the first is not of the raw lens or the
        second is, or they hold fewer than two prompts.
    """
    lens = calibrated.provenance.lens
    if raw.provenance.lens != "raw" or lens == "raw":
        raise UserError(
            f"noise: the lenses are {raw.provenance.lens!r} and {lens!r}; the first traces must "
            "be of the raw lens and the second of a calibrated one"
        )
    if raw.provenance.weights != calibrated.provenance.weights:
        raise UserError("noise: the two traces come from different model weights")
    if not all(
        np.array_equal(getattr(raw, name), getattr(calibrated, name))
        for name in ("prompt", "position", "token")
    ):
        raise UserError(
            "noise: the two traces hold different tokens; trace the same prompts with both lenses"
        )
    shared = np.intersect1d(raw.layers, calibrated.layers)
    columns = [np.isin(traces.layers, shared) for traces in (raw, calibrated)]
    return noise_between(
        raw.entropy[:, columns[0]],
        calibrated.entropy[:, columns[1]],
        raw.prompt,
        shared.tolist(),
        lens,
        seed,
        replicates,
    )


def shared_tokens(first: Traces, second: Traces) -> tuple[Traces, Traces]:
    """Cut both to the places, prompt and position, that occur in both."""
    keys = [t.prompt.astype(np.int64) << 32 | t.position for t in (first, second)]
    return first.select(np.isin(keys[0], keys[1])), second.select(np.isin(keys[1], keys[0]))


def noise_between(
    raw: NDArray[np.floating],
    calibrated: NDArray[np.floating],
    prompt: NDArray[np.integer],
    layers: Sequence[int],
    lens: str,
    seed: int = 0,
    replicates: int = 500,
) -> MeasuredNoise:
    """Summarise `raw - calibrated`, entropies (n, layers), by layer.

    Every interval uses the same resamples of prompts.
    """
    eps = raw.astype(np.float64) - calibrated.astype(np.float64)
    names, index = np.unique(prompt, return_inverse=True)
    if len(names) < 2:
        raise UserError(f"noise: {len(names)} prompt(s), an interval over prompts needs two")
    rng = np.random.default_rng(seed)
    # The first row is the sample itself, the others are resamples.
    weights = np.vstack(
        [np.ones((1, len(names)), int), multiplicities(rng, len(names), replicates)]
    )
    size = weights @ np.bincount(index)

    def means(values: FloatArray) -> FloatArray:
        """Token means on every resample, (1 + replicates, columns)."""
        sums = np.zeros((len(names), values.shape[1]))
        np.add.at(sums, index, values)
        result: FloatArray = (weights @ sums) / size[:, None]
        return result

    mean = means(eps)
    # Around the sample's mean, so that squares do not cancel.
    centred = eps - mean[0]
    shift, square = means(centred), means(centred**2)
    deviation = np.sqrt(np.maximum(square - shift**2, 0.0))
    product = means(centred[:, :-1] * centred[:, 1:])
    covariance = product - shift[:, :-1] * shift[:, 1:]
    varies = deviation >= _ROUNDING
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = covariance / (deviation[:, :-1] * deviation[:, 1:])
    correlation[~(varies[:, :-1] & varies[:, 1:])] = np.nan
    rows = []
    for column, layer in enumerate(layers):
        quantiles = _quantiles(eps[:, column], index, weights)
        follows = correlation[:, column] if column < len(layers) - 1 else None
        rows.append(
            LayerNoise(
                layer=int(layer),
                mean=_interval(mean[:, column]),
                deviation=_interval(deviation[:, column]),
                quantiles=tuple(_interval(quantile) for quantile in quantiles.T),
                next_correlation=None
                if follows is None or not np.isfinite(follows[0])
                else _interval(follows[np.isfinite(follows)]),
            )
        )
    return MeasuredNoise(lens, len(eps), len(names), tuple(rows))


def _quantiles(values: FloatArray, index: IntArray, weights: IntArray) -> FloatArray:
    """Quantiles of the tokens on every resample, (1 + replicates, levels)."""
    order = values.argsort()
    ordered, owner = values[order], index[order]
    found = []
    for start in range(0, len(weights), _BLOCK):
        counts = weights[start : start + _BLOCK, owner].cumsum(axis=1)
        levels = np.array(QUANTILES) * counts[:, -1:]
        places = [np.searchsorted(row, level) for row, level in zip(counts, levels, strict=True)]
        found.append(ordered[np.minimum(places, len(ordered) - 1)])
    return np.concatenate(found)


def _interval(replicates: FloatArray) -> Interval:
    """Percentile interval around the first entry, the sample's own."""
    return percentile_interval(replicates[0], replicates[1:], LEVEL)
