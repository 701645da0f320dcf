"""What a fitted model says in nats, over all its classes: the numbers that people compare.

Classes and scale are means to an end; two fits with other classes may say the same. A profile is
what they say: where tokens turn, how far entropy falls and rises per layer, how noisy the
projections are, and how often a Gaussian increment has the wrong sign (where A1 or A3 fails in the
model).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from scipy.special import ndtr

from stopping.changepoint.component import Component
from stopping.changepoint.model import ChangePointModel
from stopping.types import FloatArray


@dataclass(frozen=True, eq=False)
class Profile:
    """Averages over tokens; entry `l - 1` of a `(K,)` array belongs to the step onto column `l`.

    Attributes
    ----------
    turning : ndarray, shape (w,)
        `P(V* = l)`.
    noise : ndarray, shape (w,)
        Root mean square of `eps[l]`, nats.
    fall : ndarray, shape (K,)
        `E[G[l-1] - G[l] | V* >= l]`, nats.
    rise : ndarray, shape (K,)
        `E[G[l] - G[l-1] | V* < l]`, nats.
    fall_wrong, rise_wrong : ndarray, shape (K,)
        `P(G[l] > G[l-1] | V* >= l)` and `P(G[l] < G[l-1] | V* < l)`: A1 and A3 broken in sign.
    """

    turning: FloatArray
    noise: FloatArray
    fall: FloatArray
    rise: FloatArray
    fall_wrong: FloatArray
    rise_wrong: FloatArray

    def flat(self) -> FloatArray:
        """All entries in one vector, in the order of the fields."""
        return np.concatenate([getattr(self, f.name) for f in fields(self)])

    @classmethod
    def unflat(cls, values: FloatArray) -> "Profile":
        """Undo `flat`."""
        w = (len(values) + 4) // 6
        ends = np.cumsum([w, w, *[w - 1] * 3])
        return cls(*np.split(values, ends))


def profile(model: ChangePointModel) -> Profile:
    """Profile of a model; NaN where no token refines or rises onto a layer."""
    K = model.K
    mass = {"fall": np.zeros(K), "rise": np.zeros(K)}
    size, wrong = ({name: np.zeros(K) for name in mass} for _ in range(2))
    for probability, component, v in _cells(model):
        moments = component.moments(v)
        G = model.scale.mean_nats(moments.mean, np.diag(moments.latent))
        steps = np.diff(G)
        rises = np.arange(1, model.w) > v
        for name, layers, sign in (("fall", ~rises, -1.0), ("rise", rises, 1.0)):
            mean = component.rise_mean if name == "rise" else component.drift_mean
            spread = component.rise_sd if name == "rise" else component.drift_sd
            mass[name][layers] += probability
            size[name][layers] += probability * sign * steps[layers]
            below = ndtr(-mean / np.maximum(spread, 1e-300))
            wrong[name][layers] += probability * below[layers]
    with np.errstate(invalid="ignore", divide="ignore"):
        return Profile(
            turning=model.turning_distribution(),
            noise=model.noise_nats(),
            **{name: size[name] / mass[name] for name in mass},
            **{f"{name}_wrong": wrong[name] / mass[name] for name in mass},
        )


def final_excess(model: ChangePointModel) -> float:
    """`E[G[L] - G[V*]]` over all tokens, nats: what decoding at the final layer loses."""
    total = 0.0
    for probability, component, v in _cells(model):
        moments = component.moments(v)
        G = model.scale.mean_nats(moments.mean, np.diag(moments.latent))
        total += probability * float(G[-1] - G[v])
    return total


def _cells(model: ChangePointModel) -> Iterator[tuple[float, Component, int]]:
    for weight, component in zip(model.weights, model.components, strict=True):
        for v in np.flatnonzero(component.turning):
            yield float(weight * component.turning[v]), component, int(v)
