"""What the model says of a token whose entropies, or only the last of them, have been read.

Given class `c` and `V* = v` all is Gaussian: with `S` the covariance of what was read and `C` that
of `G` with it,

    E[G | x, c, v] = mean + C S^-1 (z - mean),    Cov[G | x, c, v] = Cov G - C S^-1 C',

and the posterior of `(c, v)` is proportional to `weights[c] turning_c[v] N(z; mean_cv, S_cv)`. So

    E[excess(l) | x] = sum over c and v of P(c, v | x) (E[G[l] | x, c, v] - E[G[v] | x, c, v])

is in closed form, in nats, on either scale (`Scale.mean_nats`). Its least layer is the full-window
Bayes rule S3. A backward scan that has read the columns `first .. L` only asks with
`first > 0`: the columns below are integrated out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from stopping.changepoint.component import Moments
from stopping.changepoint.model import ChangePointModel
from stopping.errors import UserError
from stopping.model.windows import as_batch
from stopping.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Posterior:
    """Beliefs about each token after reading it.

    Attributes
    ----------
    log_likelihood : ndarray, shape (n,)
        Log-density of what was read, per nat of each observed entropy.
    classes : ndarray, shape (n, classes)
        Probability of each class.
    turning : ndarray, shape (n, w)
        Probability of each turning point.
    latent : ndarray, shape (n, w)
        `E[G[l] | x]`, nats.
    excess : ndarray, shape (n, w)
        `E[G[l] - G[V*] | x]`, nats; negative where a layer is expected to beat `V*`.
    """

    log_likelihood: FloatArray
    classes: FloatArray
    turning: FloatArray
    latent: FloatArray
    excess: FloatArray

    @property
    def best_layer(self) -> IntArray:
        """The layer of least expected excess, the later one at ties, shape (n,): S3."""
        w = self.excess.shape[1]
        layer: IntArray = w - 1 - self.excess[:, ::-1].argmin(axis=1)
        return layer


def log_joint(model: ChangePointModel, x: ArrayLike, first: int = 0) -> FloatArray:
    """`log P(c, v) p(x | c, v)` of every token, class and turning point, shape (n, classes, w).

    Parameters
    ----------
    x : array_like, shape (n, w)
        Observed entropies on the window, nats, final layer last.
    first : int
        First column that was read; those before it may hold anything finite.

    Raises
    ------
    UserError
        If the window is not the model's, an entropy is not finite or below the scale, or the
        model has a direction without any noise, in which a density does not exist.
    """
    z, log_slope = _read(model, x, first)
    found = np.empty((len(z), len(model.components), model.w))
    for c, component in enumerate(model.components):
        for v in range(model.w):
            weight = model.weights[c] * component.turning[v]
            if weight == 0:
                found[:, c, v] = -np.inf
                continue
            whitened, half_log_det, _ = _whiten(component.moments(v), z, first)
            quadratic = (whitened**2).sum(axis=0)
            constant = np.log(weight) - half_log_det - len(whitened) * np.log(2 * np.pi) / 2
            found[:, c, v] = constant - quadratic / 2
    return found + log_slope[:, None, None]


def log_likelihood(model: ChangePointModel, x: ArrayLike, first: int = 0) -> FloatArray:
    """Log-density of every token, shape (n,); arguments as for `log_joint`."""
    return _evidence(log_joint(model, x, first))


def posterior(model: ChangePointModel, x: ArrayLike, first: int = 0) -> Posterior:
    """Beliefs about every token; arguments and errors as for `log_joint`."""
    joint = log_joint(model, x, first)
    evidence = _evidence(joint)
    beliefs = np.exp(joint - evidence[:, None, None])
    z, _ = _read(model, x, first)
    latent, valley = np.zeros((len(z), model.w)), np.zeros(len(z))
    for c, component in enumerate(model.components):
        for v in range(model.w):
            if model.weights[c] * component.turning[v] == 0:
                continue
            moments = component.moments(v)
            whitened, _, half_gain = _whiten(moments, z, first)
            mean = moments.mean + whitened.T @ half_gain
            variance = np.maximum(np.diag(moments.latent) - (half_gain**2).sum(axis=0), 0.0)
            G = model.scale.mean_nats(mean, variance)
            latent += beliefs[:, c, v, None] * G
            valley += beliefs[:, c, v] * G[:, v]
    return Posterior(
        log_likelihood=evidence,
        classes=beliefs.sum(axis=2),
        turning=beliefs.sum(axis=1),
        latent=latent,
        excess=latent - valley[:, None],
    )


def _evidence(joint: FloatArray) -> FloatArray:
    """Log-sum-exp over classes and turning points; at least one of them is finite."""
    top = joint.max(axis=(1, 2))
    total: FloatArray = top + np.log(np.exp(joint - top[:, None, None]).sum(axis=(1, 2)))
    return total


def _read(model: ChangePointModel, x: ArrayLike, first: int) -> tuple[FloatArray, FloatArray]:
    """Return what was read on the model's scale, (n, w - first), and its log-slope, (n,)."""
    batch = as_batch(x, "x")
    if batch.shape[1] != model.w:
        raise UserError(f"x: {batch.shape[1]} layers, the model's window has {model.w}")
    if not 0 <= first < model.w:
        raise UserError(f"first: must be a column of the window, 0 to {model.w - 1}, got {first}")
    seen = batch[:, first:]
    return model.scale.of(seen), model.scale.log_slope(seen).sum(axis=1)


def _whiten(moments: Moments, z: FloatArray, first: int) -> tuple[FloatArray, float, FloatArray]:
    """Whiten what was observed: `R^-1 (z - mean)'` (read, n), `log det R`, and `R^-1 C'` (read, w).

    `R R' = S` is the covariance of what was read, `C` that of `G` with it.
    """
    try:
        root = cholesky(moments.observed[first:, first:], lower=True)
    except LinAlgError:
        raise UserError(
            "model: the observed entropies of a token have a direction without noise or "
            "spread, so they "
            "have no density; give noise_sd, drift_sd or rise_sd a positive value there"
        ) from None
    whitened = solve_triangular(root, (z - moments.mean[first:]).T, lower=True)
    half_gain = solve_triangular(root, moments.latent[first:, :], lower=True)
    return whitened, float(np.log(np.diag(root)).sum()), half_gain
