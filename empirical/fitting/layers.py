"""The fitted model layer by layer, in nats, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stopping.changepoint.estimate import Estimate
from stopping.changepoint.inference import LEVEL, Uncertainty, interval_of, profile_errors
from stopping.changepoint.layer_profile import Profile, profile
from stopping.support.statistics import Interval, percentile_interval
from stopping.types import FloatArray


@dataclass(frozen=True)
class LayerFit:
    """The fitted model at one layer of the window, nats, 95 % intervals over prompts.

    Attributes
    ----------
    turning : Interval
        Share of tokens that turn here.
    noise : Interval
        Root mean square of the projection noise, which is what neighbouring layers do not share;
        at the final layer by convention.
    fall, rise : Interval or None
        Mean step of `G` onto this layer for tokens that still refine, or already rise; None at the
        first layer, and where no token takes part.
    fall_wrong, rise_wrong : float
        Share of those steps that go the wrong way; NaN at the first layer.
    bootstrap_noise, bootstrap_turning : Interval or None
        The same by refits on resampled prompts.
    """

    layer: int
    turning: Interval
    noise: Interval
    fall: Interval | None
    rise: Interval | None
    fall_wrong: float
    rise_wrong: float
    bootstrap_noise: Interval | None
    bootstrap_turning: Interval | None


def layer_rows(
    estimate: Estimate, errors: Uncertainty, drawn: FloatArray, layers: Sequence[int]
) -> tuple[LayerFit, ...]:
    """Profile of the estimate with its intervals, one row for each layer."""
    found = profile(estimate.model)
    spread = Profile.unflat(profile_errors(estimate, errors.by_prompts))
    refits = [profile(estimate.layout.model(theta)) for theta in drawn]
    rows = []
    for column, layer in enumerate(layers):
        pair = column - 1
        rows.append(
            LayerFit(
                layer=int(layer),
                turning=interval_of(
                    *(float(found.turning[column]), float(spread.turning[column])), "probability"
                ),
                noise=interval_of(float(found.noise[column]), float(spread.noise[column]), "sd"),
                fall=_step_interval(found.fall, spread.fall, pair),
                rise=_step_interval(found.rise, spread.rise, pair),
                fall_wrong=float(found.fall_wrong[pair]) if pair >= 0 else float("nan"),
                rise_wrong=float(found.rise_wrong[pair]) if pair >= 0 else float("nan"),
                bootstrap_noise=_percentiles(found.noise, [r.noise for r in refits], column),
                bootstrap_turning=_percentiles(found.turning, [r.turning for r in refits], column),
            )
        )
    return tuple(rows)


def _step_interval(values: FloatArray, spread: FloatArray, pair: int) -> Interval | None:
    if pair < 0 or not np.isfinite(values[pair]):
        return None
    return interval_of(float(values[pair]), float(spread[pair]), "mean")


def _percentiles(
    estimate: FloatArray, refits: Sequence[FloatArray], column: int
) -> Interval | None:
    if len(refits) < 20:
        return None
    return percentile_interval(estimate[column], [refit[column] for refit in refits], LEVEL)
