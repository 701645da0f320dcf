r"""Linear pools: weighted means of the layers' distributions.

    q = sum_l w_l p_l,        w_l = softmax_l( c + C phi ),

with `phi` the standardised entropies of all the layers, or `C = 0` for global weights. Their
log-loss needs the probability that each layer gives to the token and nothing else of the
vocabulary, so that a fit costs nothing. It is convex in global weights.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from empirical.studies.pools.data import Said
from stopping.types import FloatArray

_RIDGES = (1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True, eq=False)
class Standard:
    """Entropies to features of mean 0 and deviation 1 on the training tokens, (n, layers)."""

    mean: FloatArray
    deviation: FloatArray

    @classmethod
    def of(cls, entropy: FloatArray) -> "Standard":
        """Measure both."""
        return cls(entropy.mean(axis=0), entropy.std(axis=0).clip(min=1e-6))

    def __call__(self, entropy: FloatArray) -> FloatArray:
        """Features of some tokens."""
        found: FloatArray = (entropy - self.mean) / self.deviation
        return found


@dataclass(frozen=True, eq=False)
class LinearPool:
    """Scores `c` (layers,) and their dependence `C` (layers, features) on the entropies."""

    bias: FloatArray
    slope: FloatArray

    def log_weights(self, features: FloatArray) -> FloatArray:
        """Logarithms of the weights, (n, layers)."""
        found: FloatArray = log_softmax(self.bias + features @ self.slope.T, axis=1)
        return found

    def log_loss(self, log_prob: FloatArray, features: FloatArray) -> FloatArray:
        """Log-loss of each token, nats, (n,)."""
        found: FloatArray = -logsumexp(self.log_weights(features) + log_prob, axis=1)
        return found


def fit_global(train: Said) -> LinearPool:
    """Weights of least log-loss, the same for every token."""
    layers = train.log_prob.shape[1]
    return _fit(train, np.zeros((len(train.log_prob), 0)), np.zeros((layers, 0)), 0.0)


def fit_gated(train: Said, validation: Said, standard: Standard) -> LinearPool:
    """Weights from the entropies; the ridge is that of least log-loss on the validation tokens."""
    features, held_out = standard(train.entropy), standard(validation.entropy)
    layers = train.log_prob.shape[1]
    start = np.zeros((layers, features.shape[1]))
    found = [_fit(train, features, start, ridge) for ridge in _RIDGES]
    return min(found, key=lambda pool: float(pool.log_loss(validation.log_prob, held_out).mean()))


def _fit(train: Said, features: FloatArray, slope: FloatArray, ridge: float) -> LinearPool:
    layers, width = slope.shape
    # The weights are the final layer's to begin with, nearly.
    start = np.append(np.where(np.arange(layers) < layers - 1, -3.0, 0.0), slope)

    def unpacked(theta: FloatArray) -> LinearPool:
        return LinearPool(theta[:layers], theta[layers:].reshape(layers, width))

    def objective(theta: FloatArray) -> tuple[float, FloatArray]:
        pool = unpacked(theta)
        prior = pool.log_weights(features)
        joint = prior + train.log_prob
        loss = -logsumexp(joint, axis=1)
        # d loss / d score = prior weight minus the layer's share of the token's probability.
        slope_of = np.exp(prior) - np.exp(joint + loss[:, None])
        gradient = np.append(slope_of.mean(axis=0), (slope_of.T @ features).ravel() / len(loss))
        penalty = np.append(np.zeros(layers), ridge * theta[layers:])
        value = loss.mean() + 0.5 * ridge * (theta[layers:] ** 2).sum()
        return float(value), gradient + penalty

    found = minimize(objective, start, jac=True, method="L-BFGS-B")
    return unpacked(found.x)
