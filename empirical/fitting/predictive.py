r"""What the fitted model predicts of tokens that it has not seen, against those tokens.

The model is fitted to half of the prompts; here it draws tokens of its own, the search runs on
them, and every statistic is compared with that of the other half. None of them was fitted. A
prediction *agrees* if it lies within the interval over prompts, widened by the error of the draws,
or within a tolerance that is stated with its kind: a model that is wrong by less than what matters
is not worth refuting, and with ten thousand tokens every model is wrong.

Twenty-seven statements at 95 % do not stand together at 95 %. The *overall verdict* is one test of
them all: each difference is studentised and Holm's step-down shares an error of 5 %, tolerances
aside. The variance is that of the measured statistic, twice: once for the tokens that are
predicted, once for the fit, since what an efficient estimate predicts varies no more than the same
statistic of the tokens that were fitted, which are as many. The tenth of a PIT that is off most was
looked for among ten, and pays for it.

*Entropy above the lowest* is `x[l] - min x` over the window, of observed entropies; the excess is
one of `G`, which only the model knows, and is bounded in `bounds`.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import ndtr, ndtri, stdtr

from empirical.intervals import LEVEL, Ratio, mean, prompt_intervals
from stopping.changepoint import ChangePointModel
from stopping.rules import Search
from stopping.support.statistics import Interval
from stopping.theory.certificates import certify
from stopping.theory.identification import identify
from stopping.types import FloatArray, IntArray

DRAWS = 20_000
BINS = 10
PIT = "PIT, worst tenth"
TOLERANCES = {"share": 0.02, "nats": 0.05, "layers": 0.1, "correlation": 0.1}


class Agreement(StrEnum):
    """Whether a prediction stands."""

    AGREES = "agrees"
    FAILS = "fails"


@dataclass(frozen=True)
class Prediction:
    """One statistic: predicted with the standard error of the draws, and measured.

    `kind` is its unit (`TOLERANCES`); `group` names the check that it belongs to.
    """

    group: str
    name: str
    kind: str
    predicted: float
    draw_error: float
    measured: Interval

    def p_value(self, tokens: int, prompts: int) -> float:
        """Two-sided, of the studentised difference; a share varies as a binomial one at least."""
        width = (self.measured.high - self.measured.low) / (2 * float(ndtri((1 + LEVEL) / 2)))
        variance = width**2
        if self.kind == "share":
            share = min(max(self.predicted, 1 / tokens), 1 - 1 / tokens)
            variance = max(variance, share * (1 - share) / tokens)
        error = math.sqrt(2 * variance + self.draw_error**2)
        difference = abs(self.predicted - self.measured.estimate)
        if not math.isfinite(difference) or not math.isfinite(error) or error == 0:
            return 1.0
        looked_at = BINS if self.group == PIT else 1
        return min(1.0, looked_at * 2 * float(stdtr(prompts - 1, -difference / error)))

    @property
    def agreement(self) -> Agreement:
        """Within the interval or the tolerance, both widened by twice the error of the draws."""
        slack = 2 * self.draw_error
        inside = self.measured.low - slack <= self.predicted <= self.measured.high + slack
        close = abs(self.predicted - self.measured.estimate) <= TOLERANCES[self.kind] + slack
        return Agreement.AGREES if inside or close else Agreement.FAILS


@dataclass(frozen=True, eq=False)
class Predictive:
    """All predictions, and the PIT histogram of every layer.

    Attributes
    ----------
    depth_predicted, depth_measured : ndarray, shape (w,)
        Share of tokens by depth of the search.
    pit : ndarray, shape (w, BINS)
        Share of held-out tokens in each tenth of the layer's fitted distribution: flat if it is
        right.
    p_value : float
        Of all predictions together: below 0.05 for one right model in twenty at most.
    """

    predictions: tuple[Prediction, ...]
    depth_predicted: FloatArray
    depth_measured: FloatArray
    pit: FloatArray
    p_value: float

    def of(self, group: str) -> tuple[Prediction, ...]:
        """Predictions of one check."""
        return tuple(p for p in self.predictions if p.group == group)

    def __getitem__(self, name: str) -> Prediction:
        """Return a prediction by its name."""
        return next(p for p in self.predictions if p.name == name)

    @property
    def failures(self) -> tuple[Prediction, ...]:
        """Predictions that do not stand."""
        return tuple(p for p in self.predictions if p.agreement is Agreement.FAILS)


def predictive(
    model: ChangePointModel,
    x: FloatArray,
    prompt: IntArray,
    eps_max: float,
    seed: int,
    replicates: int,
    draws: int = DRAWS,
) -> Predictive:
    """Compare the model's own tokens with held-out tokens `x`, (n, w), nats.

    `eps_max` is the noise level, nats, at which certificates (T8) are asked for.
    """
    rng = np.random.default_rng(seed)
    drawn = model.sample(rng, draws).x
    here, there = _statistics(x, eps_max), _statistics(drawn, eps_max)
    ratios = {name: ratio for name, (_, _, ratio) in here.items()}
    measured = prompt_intervals(ratios, prompt, seed, replicates)
    predictions = []
    for name, (group, kind, ratio) in there.items():
        value, error = _ratio(ratio)
        predictions.append(Prediction(group, name, kind, value, error, measured[name]))
    predictions += _correlations(x, drawn, prompt, seed, replicates)
    histogram = pit(model, x)
    predictions += _pit_predictions(histogram, x, model, prompt, seed, replicates)
    sizes = len(x), len(np.unique(prompt))
    return Predictive(
        predictions=tuple(predictions),
        depth_predicted=_depths(drawn),
        depth_measured=_depths(x),
        pit=histogram,
        p_value=min(1.0, len(predictions) * min(p.p_value(*sizes) for p in predictions)),
    )


def _statistics(x: FloatArray, eps_max: float) -> dict[str, tuple[str, str, Ratio]]:
    """Statistics as ratios of sums over tokens: `{name: (group, unit, ratio)}`."""
    last = x.shape[1] - 1
    rows = np.arange(len(x))
    search = Search(last)
    stop = search.choose(x)
    depth = last - stop
    lowest = x.min(axis=1)
    least = identify(x).least_eps_max
    certificate = certify(x, eps_max)
    own = np.where(certificate.explained, certificate.excess[rows, stop], 0.0)
    found: dict[str, tuple[str, str, Ratio]] = {
        "share moved": ("search", "share", mean(depth > 0)),
        "depth of the search": ("search", "layers", mean(depth)),
        "projections per token": ("search", "layers", mean(search.projections(x))),
        "entropy above the lowest, search": ("search", "nats", mean(x[rows, stop] - lowest)),
        "entropy above the lowest, final layer": ("search", "nats", mean(x[:, -1] - lowest)),
    }
    for d in range(min(last, 5) + 1):
        found[f"depth {d}"] = ("depths", "share", mean(depth == d))
    for level in (0.1, 0.25, 0.5, 1.0):
        name = f"least eps_max ≤ {level:g}"
        found[name] = ("noise needed (T9)", "share", mean(least <= level))
    found["explained"] = ("certificates (T8)", "share", mean(certificate.explained))
    found["certificate of the search"] = (
        "certificates (T8)",
        "nats",
        mean(own, certificate.explained),
    )
    return found


def _ratio(ratio: Ratio) -> tuple[float, float]:
    """Ratio of means over independent draws, with its standard error."""
    below = ratio.denominator.mean()
    if below == 0:
        return float("nan"), 0.0
    value = ratio.numerator.mean() / below
    residual = (ratio.numerator - value * ratio.denominator) / below
    return float(value), float(residual.std() / np.sqrt(len(residual)))


def _correlations(
    x: FloatArray, drawn: FloatArray, prompt: IntArray, seed: int, replicates: int
) -> list[Prediction]:
    """Lag-one correlation of increments at each inner layer."""
    found = []
    ratios = {str(i): mean(column) for i, column in enumerate(_standard_products(x).T)}
    measured = prompt_intervals(ratios, prompt, seed, replicates) if ratios else {}
    for i, own in enumerate(_standard_products(drawn).T):
        found.append(
            Prediction(
                "lag-one correlation of increments",
                f"steps {i + 1} and {i + 2}",
                "correlation",
                float(own.mean()),
                float(own.std() / np.sqrt(len(own))),
                measured[str(i)],
            )
        )
    return found


def _standard_products(x: FloatArray) -> FloatArray:
    steps = np.diff(x, axis=1)
    standard = (steps - steps.mean(axis=0)) / np.maximum(steps.std(axis=0), 1e-300)
    products: FloatArray = standard[:, :-1] * standard[:, 1:]
    return products


def pit(model: ChangePointModel, x: FloatArray) -> FloatArray:
    """Share of tokens in each tenth of the fitted distribution of each layer, (w, BINS)."""
    values = pit_values(model, x)
    bins = np.minimum((values * BINS).astype(int), BINS - 1)
    return np.array([np.bincount(b, minlength=BINS) / len(x) for b in bins.T])


def pit_values(model: ChangePointModel, x: FloatArray) -> FloatArray:
    """Fitted distribution function of each layer at each observed entropy, (n, w)."""
    z = model.scale.of(x)
    values = np.zeros_like(z)
    for weight, component in zip(model.weights, model.components, strict=True):
        for v in np.flatnonzero(component.turning):
            moments = component.moments(int(v))
            spread = np.sqrt(np.diag(moments.observed))
            values += weight * component.turning[v] * ndtr((z - moments.mean) / spread)
    return values


def _pit_predictions(
    histogram: FloatArray,
    x: FloatArray,
    model: ChangePointModel,
    prompt: IntArray,
    seed: int,
    replicates: int,
) -> list[Prediction]:
    """The worst tenth of each layer, which should hold a tenth of the tokens."""
    values = pit_values(model, x)
    worst = np.abs(histogram - 1 / BINS).argmax(axis=1)
    bins = np.minimum((values * BINS).astype(int), BINS - 1)
    ratios = {str(i): mean(bins[:, i] == tenth) for i, tenth in enumerate(worst)}
    measured = prompt_intervals(ratios, prompt, seed, replicates)
    return [
        Prediction(
            PIT,
            f"column {i}, tenth {tenth + 1}",
            "share",
            1 / BINS,
            0.0,
            measured[str(i)],
        )
        for i, tenth in enumerate(worst)
    ]


def _depths(x: FloatArray) -> FloatArray:
    last = x.shape[1] - 1
    counts = np.bincount(last - Search(last).choose(x), minlength=last + 1)
    shares: FloatArray = counts / len(x)
    return shares
