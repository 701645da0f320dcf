r"""T2 and T14 at the fitted parameters: do they hold, and how loose are they?

The model's own tokens have a known `G` and `V*`, so a bound can be held against what it bounds. On
real tokens `G` is latent; what stands beside the bounds there is the model's own belief about each
token, `E[excess(V^) | x]` (S3), averaged over held-out tokens. If the model is right, that average
and the simulated one agree.

- **T2** needs bounded noise: `eps_max` is taken as the level that nine simulated tokens in ten
  respect at every layer, and the bound is asked of those that also satisfy A3 at that level.
- **T14, above**: `P(V^ > V*) <= E min(1, sum over l > V* of exp(-delta[l]^2 / (2 s[l]^2)))`, on the
  model's scale, where the noise is normal and which the search does not notice; `s[l]` is the
  deviation of the difference of two layers' noise, and a rise of the wrong sign bounds nothing.
- **T14, below**: `E[excess(V^)+; V^ <= V*] <= knee s / sqrt(2 pi)` with `s` the largest deviation
  of a difference to `V*`: a softplus has slope at most its knee in nats. A logarithmic scale has
  no such bound, and the row is missing.

The model's noise is independent over layers; that of a real lens is not. Where a calibrated lens
has measured the correlation of neighbouring layers, both rows use it, in the bound and in the
tokens drawn: normal noise with the fitted deviations and the measured correlation of neighbours, as
if that were all that correlates (a Markov chain). It was measured in nats and stands in for the
correlation on the model's scale.
"""

from dataclasses import dataclass

import numpy as np

from empirical.intervals import mean, prompt_intervals
from stopping.changepoint import ChangePointModel, Component, posterior
from stopping.model.paths import Paths
from stopping.rules import Final, Search
from stopping.support.statistics import Interval
from stopping.theory.bounds import excess_bound
from stopping.theory.dependent import (
    expected_excess_by_difference,
    increment_scales,
    markov_covariance,
    widest_difference,
)
from stopping.types import FloatArray, IntArray

COVERED = 0.9
DRAWS = 20_000


@dataclass(frozen=True)
class Bound:
    """One bound against what it bounds under the fitted model.

    Attributes
    ----------
    theorem, statement : str
    bound, found : float
        Nats, or a probability.
    draws : int
        Simulated tokens that satisfy the premises.
    holds : bool or None
        Whether what was found is within the bound; None if no token satisfies the premises.
    """

    theorem: str
    statement: str
    bound: float
    found: float
    draws: int

    @property
    def holds(self) -> bool | None:
        """Whether the bound holds on these draws."""
        return None if self.draws == 0 else self.found <= self.bound

    @property
    def looseness(self) -> float:
        """How many times what was found the bound is."""
        return self.bound / self.found if self.found > 0 else float("inf")


@dataclass(frozen=True)
class LatentExcess:
    """Latent excess `G[l] - G[V*]` of the search and of the final layer, nats.

    `simulated` under the fitted model; `believed` the posterior mean on held-out tokens; the Bayes
    layer (S3) is the least that any rule can believe.
    """

    simulated_search: float
    simulated_final: float
    believed_search: Interval
    believed_final: Interval
    believed_bayes: Interval


@dataclass(frozen=True)
class BoundsCheck:
    """Bounds under the fitted model, and the excess that they speak of.

    `correlation` is that of the noise of neighbouring layers as measured, which the bounds on
    random noise use; None where nothing measured it, and the noise is independent.
    """

    eps_max: float
    bounds: tuple[Bound, ...]
    correlation: tuple[float, ...] | None
    excess: LatentExcess


def check_bounds(
    model: ChangePointModel,
    x: FloatArray,
    prompt: IntArray,
    seed: int,
    replicates: int,
    draws: int = DRAWS,
    correlation: FloatArray | None = None,
) -> BoundsCheck:
    """Hold T2 and T14 against the model's own tokens, and its beliefs about `x`, (n, w).

    `correlation`, (K,), is that of the noise of neighbouring layers, where it was measured.
    """
    rng = np.random.default_rng(seed)
    paths = model.sample(rng, draws)
    stop = Search(model.K).choose(paths.x)
    excess = paths.excess(stop)
    eps_max = float(np.quantile(np.abs(paths.noise).max(axis=1), COVERED))
    found = [
        _worst_case(paths, stop, excess, eps_max),
        *_random_noise(model, rng, draws, correlation),
    ]
    beliefs = posterior(model, x)
    rows = np.arange(len(x))
    layers = {
        "search": Search(model.K).choose(x),
        "final": Final().choose(x),
        "bayes": beliefs.best_layer,
    }
    ratios = {name: mean(beliefs.excess[rows, layer]) for name, layer in layers.items()}
    believed = prompt_intervals(ratios, prompt, seed, replicates)
    last = np.full(draws, model.K)
    return BoundsCheck(
        eps_max=eps_max,
        bounds=tuple(found),
        correlation=None if correlation is None else tuple(map(float, correlation)),
        excess=LatentExcess(
            simulated_search=float(excess.mean()),
            simulated_final=float(paths.excess(last).mean()),
            believed_search=believed["search"],
            believed_final=believed["final"],
            believed_bayes=believed["bayes"],
        ),
    )


def _worst_case(paths: Paths, stop: IntArray, excess: FloatArray, eps_max: float) -> Bound:
    """T2 on the tokens that satisfy its premises."""
    steps = np.diff(paths.G, axis=1)
    late = np.arange(1, paths.layers) > paths.turning[:, None]
    dominated = (~late | (steps > 2 * eps_max)).all(axis=1)
    bounded = np.abs(paths.noise).max(axis=1) <= eps_max
    fit = dominated & bounded
    return Bound(
        "T2",
        "excess of the search, largest over tokens with A2 and A3",
        float(excess_bound(eps_max)),
        float(excess[fit].max(initial=0.0)),
        int(fit.sum()),
    )


def _random_noise(
    model: ChangePointModel,
    rng: np.random.Generator,
    draws: int,
    correlation: FloatArray | None,
) -> list[Bound]:
    """T14 for stopping above `V*` and for the excess at or below it, class by class."""
    bounds, found = np.zeros(2), np.zeros(2)
    knee = 1.0 if model.scale.knee is None else model.scale.knee
    for weight, component in zip(model.weights, model.components, strict=True):
        n = max(1, round(draws * float(weight)))
        latent, _, turning = component.sample(rng, n)
        covariance = noise_covariance(component, correlation)
        noise = rng.multivariate_normal(np.zeros(model.w), covariance, n, method="eigh")
        stop = Search(model.K).choose(latent + noise)
        delta, scale = np.diff(latent, axis=1), increment_scales(covariance)
        terms = np.exp(-np.minimum(delta**2 / np.maximum(2 * scale**2, 1e-300), 700.0))
        late = np.arange(1, model.w) > turning[:, None]
        above = np.minimum((np.where(delta > 0, terms, 1.0) * late).sum(axis=1), 1.0)
        widest = np.array([widest_difference(covariance, v) for v in range(model.w)])
        below = knee * expected_excess_by_difference(widest[turning], normal=True)
        excess = Paths.from_latent(model.scale.nats(latent), noise, turning).excess(stop)
        own = np.where(stop <= turning, np.maximum(excess, 0.0), 0.0)
        bounds += weight * np.array([above.mean(), below.mean()])
        found += weight * np.array([(stop > turning).mean(), own.mean()])
    statements = (
        "share of tokens whose search stops above V*",
        "mean positive excess at or below V*",
    )
    # On a logarithmic scale a difference of noise says nothing about one in nats.
    rows = 1 if model.scale.shift is not None and model.scale.knee is None else 2
    return [
        Bound("T14", statement, float(bound), float(value), draws)
        for statement, bound, value in zip(statements, bounds, found, strict=True)
    ][:rows]


def noise_covariance(component: Component, correlation: FloatArray | None) -> FloatArray:
    """`Cov eps` of a class, neighbouring layers correlated as measured, `(K,)`, or not at all."""
    if correlation is None:
        return component.noise_covariance()
    jumps = component.noise_covariance() - np.diag(component.noise_sd**2)
    return markov_covariance(component.noise_sd, correlation) + jumps
