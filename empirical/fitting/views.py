r"""The projection noise, seen in ways that do not share the fitted model's assumptions.

- *fit*: root mean square of `x[l] - G[l]` under the fitted model, nats.
- *moments*: for any walk with independent noise the increments `d[l] = x[l] - x[l-1]` of a token
  have `Cov(d[l], d[l+1]) = -sigma[l]^2`, so the lag-one autocovariance estimates the noise variance
  without a likelihood. It mixes all tokens, and whatever makes neighbouring increments of a token
  alike (a turning point, a class of steep tokens) hides noise: it may come out negative, which says
  that independent noise alone does not make these increments.
- *bounded* (T9): the least `eps_max` that lets A1 to A4 explain a token: no law, no independence;
  one number per token instead of one per layer, and a lower bound on the noise that hit it.
- *measured*: raw minus calibrated entropy of the same token, where a calibrated lens has traced the
  same tokens (`empirical.analysis.projection_noise`); with the correlation of neighbouring layers,
  which the model takes to be zero.
"""

import math
from dataclasses import dataclass

import numpy as np

from empirical.analysis.projection_noise import MeasuredNoise
from empirical.intervals import mean, prompt_intervals
from stopping.support.statistics import Interval
from stopping.theory.identification import identify
from stopping.types import FloatArray, IntArray

BOUNDED_LEVELS = (0.5, 0.9)


@dataclass(frozen=True)
class LayerViews:
    """Noise of one layer, nats; None where a view does not reach the layer.

    `autocovariance` is `-Cov(d[l], d[l+1])`, nats squared: the moment estimate of the variance,
    and `by_moments` its root, NaN where it is negative. `bias` is the mean of the measured noise,
    `correlation` its correlation with the next layer's.
    """

    layer: int
    by_fit: Interval
    autocovariance: Interval | None
    by_moments: float | None
    measured: Interval | None
    bias: Interval | None
    correlation: Interval | None


@dataclass(frozen=True)
class NoiseViews:
    """All views. `bounded` holds the quantiles `BOUNDED_LEVELS` of the least `eps_max` (T9)."""

    layers: tuple[LayerViews, ...]
    bounded: tuple[float, ...]
    calibrated_lens: str | None

    @property
    def hidden(self) -> tuple[int, ...]:
        """Layers where the moment estimate of the variance is negative for sure."""
        return tuple(
            row.layer
            for row in self.layers
            if row.autocovariance is not None and row.autocovariance.high < 0
        )


def noise_views(
    x: FloatArray,
    prompt: IntArray,
    layers: IntArray,
    by_fit: tuple[Interval, ...],
    seed: int,
    replicates: int,
    measured: MeasuredNoise | None = None,
) -> NoiseViews:
    """Put the views side by side for tokens `x`, (n, w), at the layers numbered `layers`.

    `measured` is the noise as a calibrated lens shows it, where one has read the same tokens.
    """
    steps = np.diff(x, axis=1)
    centred = steps - steps.mean(axis=0)
    products = -centred[:, :-1] * centred[:, 1:]
    ratios = {str(i): mean(column) for i, column in enumerate(products.T)}
    moments = prompt_intervals(ratios, prompt, seed, replicates)
    shown = {} if measured is None else {row.layer: row for row in measured.layers}
    rows = []
    for column, layer in enumerate(layers):
        inner = moments.get(str(column - 1)) if 0 < column < len(layers) - 1 else None
        seen = shown.get(int(layer))
        rows.append(
            LayerViews(
                layer=int(layer),
                by_fit=by_fit[column],
                autocovariance=inner,
                by_moments=None if inner is None else _root(inner.estimate),
                measured=None if seen is None else seen.deviation,
                bias=None if seen is None else seen.mean,
                correlation=None if seen is None else seen.next_correlation,
            )
        )
    least = identify(x).least_eps_max
    return NoiseViews(
        layers=tuple(rows),
        bounded=tuple(float(q) for q in np.quantile(least, BOUNDED_LEVELS)),
        calibrated_lens=None if measured is None else measured.lens,
    )


def measured_correlation(measured: MeasuredNoise, layers: IntArray) -> FloatArray:
    """Correlation of the noise of neighbouring layers of the window, (w - 1,).

    0 where it was not measured: one of the two layers has no noise to speak of.
    """
    shown = {row.layer: row.next_correlation for row in measured.layers}
    found = [shown.get(int(layer)) for layer in layers[:-1]]
    values = [0.0 if correlation is None else correlation.estimate for correlation in found]
    return np.clip(values, -1.0, 1.0)


def disagreement(views: NoiseViews) -> str:
    """Where the views of the noise part, in a sentence or three."""
    said = []
    if views.hidden:
        layers = ", ".join(str(layer) for layer in views.hidden)
        said.append(
            f"At layer(s) {layers} neighbouring increments of a token go together more than "
            "independent noise can undo: moments give no level there."
        )
    pairs = [
        (row.by_fit.estimate, row.by_moments)
        for row in views.layers
        if row.by_moments is not None and not math.isnan(row.by_moments)
    ]
    apart = sum(1 for fit, moment in pairs if not moment / 2 < fit < 2 * moment)
    said.append(
        f"Of {len(pairs)} layers where moments give a noise level, the fit's is more than a factor "
        f"of two away at {apart}."
    )
    alike = [row.correlation.estimate for row in views.layers if row.correlation is not None]
    if alike:
        said.append(
            f"The measured noise of neighbouring layers correlates {min(alike):.2f} to "
            f"{max(alike):.2f}; the model takes 0, so what the layers share it must call G. T14 "
            "takes what was measured."
        )
    return " ".join(said)


def _root(variance: float) -> float:
    return math.sqrt(variance) if variance >= 0 else math.nan
