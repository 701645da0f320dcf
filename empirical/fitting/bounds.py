r"""T2 and T10 at the fitted parameters: do they hold, and how loose are they?

The model's own tokens have a known `G` and `V*`, so a bound can be held against what it bounds. On
real tokens `G` is latent; what stands beside the bounds there is the model's own belief about each
token, `E[excess(V^) | x]` (S3), averaged over held-out tokens. If the model is right, that average
and the simulated one agree.

- **T2** needs bounded noise: `eps_max` is taken as the level that nine simulated tokens in ten
  respect at every layer, and the bound is asked of those that also satisfy A3 at that level.
- **T10, above**: `P(V^ > V*) <= E min(1, sum over l > V* of exp(-delta[l]^2 / (4 sigma^2)))`, on
  the model's scale, where the noise is normal and which the search does not notice; `sigma` is the
  larger of the two layers compared, and a rise of the wrong sign bounds nothing.
- **T10, below**: `E[excess(V^)+; V^ <= V*] <= knee sigma sqrt(pi)` with `sigma` the largest of the
  token's class: a softplus has slope at most its knee in nats. A logarithmic scale has no such
  bound, and the row is missing.
"""

from dataclasses import dataclass

import numpy as np

from empirical.intervals import mean, prompt_intervals
from stopping.changepoint import ChangePointModel, posterior
from stopping.model.paths import Paths
from stopping.rules import Final, Search
from stopping.support.statistics import Interval
from stopping.theory.bounds import expected_excess_bound, regret_bound
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
class Regret:
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
    """Bounds under the fitted model, and the regret that they speak of."""

    eps_max: float
    bounds: tuple[Bound, ...]
    regret: Regret


def check_bounds(
    model: ChangePointModel,
    x: FloatArray,
    prompt: IntArray,
    seed: int,
    replicates: int,
    draws: int = DRAWS,
) -> BoundsCheck:
    """Hold T2 and T10 against the model's own tokens, and its beliefs about `x`, (n, w)."""
    rng = np.random.default_rng(seed)
    paths = model.sample(rng, draws)
    stop = Search(model.K).choose(paths.x)
    excess = paths.excess(stop)
    eps_max = float(np.quantile(np.abs(paths.noise).max(axis=1), COVERED))
    found = [_worst_case(paths, stop, excess, eps_max), _above(model, rng, draws)]
    if model.scale.shift is None or model.scale.knee is not None:
        found.append(_below(model, stop, excess, paths))
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
        regret=Regret(
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
        float(regret_bound(eps_max)),
        float(excess[fit].max(initial=0.0)),
        int(fit.sum()),
    )


def _above(model: ChangePointModel, rng: np.random.Generator, draws: int) -> Bound:
    """T10 for stopping above `V*`, on the model's scale and class by class."""
    bound = found = 0.0
    for weight, component in zip(model.weights, model.components, strict=True):
        n = max(1, round(draws * float(weight)))
        latent, noise, turning = component.sample(rng, n)
        stop = Search(model.K).choose(latent + noise)
        delta = np.diff(latent, axis=1)
        variance = np.diag(component.noise_covariance())
        pair = np.maximum(2 * np.maximum(variance[1:], variance[:-1]), 1e-300)
        late = np.arange(1, model.w) > turning[:, None]
        terms = np.where(delta > 0, np.exp(-np.minimum(delta**2 / (2 * pair), 700.0)), 1.0)
        bound += weight * float(np.minimum((terms * late).sum(axis=1), 1.0).mean())
        found += weight * float((stop > turning).mean())
    return Bound(
        "T10", "share of tokens whose search stops above V*", float(bound), float(found), draws
    )


def _below(model: ChangePointModel, stop: IntArray, excess: FloatArray, paths: Paths) -> Bound:
    """T10 for the excess of stopping at or below `V*`."""
    knee = 1.0 if model.scale.knee is None else model.scale.knee
    sigma = [float(np.sqrt(np.diag(c.noise_covariance()).max())) for c in model.components]
    bound = float(model.weights @ (knee * expected_excess_bound(np.array(sigma))))
    own = np.where(stop <= paths.turning, np.maximum(excess, 0.0), 0.0)
    return Bound("T10", "mean positive excess at or below V*", bound, float(own.mean()), paths.n)
