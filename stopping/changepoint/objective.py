r"""The log-likelihood of many tokens with its gradient, as two matrix products.

A Gaussian log-density is linear in the features `phi(z) = (1, z, z_i z_j for i <= j)`, so the table
of `log P(c, v) N(z; mean_cv, S_cv)` over tokens, classes and turning points is one product

    Phi (n, features)  @  coefficients (features, classes * w).

By Fisher's identity the gradient of the log-likelihood is that of the *expected complete* one at
the same parameters, which needs only responsibility-weighted moments of `z` for each `(c, v)`:
a second product, `Phi' @ responsibilities`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from stopping.changepoint.complete import Complete
from stopping.changepoint.layout import Layout
from stopping.model.windows import as_batch
from stopping.types import FloatArray, IntArray

_BLOCK = 8192
IMPOSSIBLE = -1e12


@dataclass(frozen=True, eq=False)
class Cells:
    """Gaussian laws of all cells `(c, v)`, in this order: `m = classes * w` of them.

    Attributes
    ----------
    log_prior : ndarray, shape (m,)
    mean : ndarray, shape (m, w)
    precision : ndarray, shape (m, w, w)
    log_det : ndarray, shape (m,)
        Of the covariances.
    """

    log_prior: FloatArray
    mean: FloatArray
    precision: FloatArray
    log_det: FloatArray


def cells(layout: Layout, theta: FloatArray) -> Cells:
    """Laws of all cells at `theta`.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a covariance cannot be inverted.
    """
    w, reach = layout.w, layout.reach
    own = layout.by_class(theta)
    linear = np.where(layout.spreads, own**2, own)
    u = np.tensordot(linear, layout.incidence, (1, 2)).reshape(-1, w + reach.shape[1])
    covariance = (reach * u[:, None, w:]) @ reach.T
    turning = log_softmax(own[:, layout.slices["turning"]], axis=1) if layout.turns else 0.0
    weights = log_softmax(layout.weight_logits(theta))
    return Cells(
        log_prior=(weights[:, None] + turning).ravel(),
        mean=u[:, :w] @ reach[:, :w].T,
        precision=np.linalg.inv(covariance).astype(np.float64),
        log_det=np.linalg.slogdet(covariance)[1],
    )


@dataclass(frozen=True, eq=False)
class Objective:
    """Log-likelihood per token of weighted tokens, on the model's scale.

    Attributes
    ----------
    z : ndarray, shape (n, w)
        Observed entropies on the model's scale.
    weight : ndarray, shape (n,)
        How often each token counts; whole prompts in a bootstrap.
    """

    layout: Layout
    z: FloatArray
    weight: FloatArray

    @classmethod
    def of(cls, layout: Layout, x: ArrayLike) -> "Objective":
        """Each of the tokens `x`, (n, w), nats, once."""
        z = layout.scale.of(as_batch(x, "x"))
        return cls(layout, z, np.ones(len(z)))

    @cached_property
    def centre(self) -> FloatArray:
        """Means of `z`, (w,): features are taken about them, so that squares do not cancel."""
        mean: FloatArray = self.z.mean(axis=0)
        return mean

    @cached_property
    def pairs(self) -> tuple[IntArray, IntArray]:
        """Rows and columns of the upper triangle."""
        return np.triu_indices(self.layout.w)

    @cached_property
    def features(self) -> FloatArray:
        """`phi(z)`, (n, 1 + w + w (w + 1) / 2)."""
        i, j = self.pairs
        centred = self.z - self.centre
        ones = np.ones((len(centred), 1))
        return np.concatenate([ones, centred, centred[:, i] * centred[:, j]], axis=1)

    @cached_property
    def total(self) -> float:
        """Sum of the weights."""
        return float(self.weight.sum())

    def coefficients(self, laws: Cells) -> FloatArray:
        """Coefficients of the log-densities in the features, (features, m)."""
        i, j = self.pairs
        mean = laws.mean - self.centre
        tilt = np.einsum("mij,mj->mi", laws.precision, mean)
        constant = (
            laws.log_prior
            - (laws.log_det + (tilt * mean).sum(axis=1) + self.layout.w * np.log(2 * np.pi)) / 2
        )
        square = -laws.precision[:, i, j] * np.where(i == j, 0.5, 1.0)
        return np.concatenate([constant[:, None], tilt, square], axis=1).T

    def value_and_gradient(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Mean log-likelihood per token on the model's scale, and its gradient, (size,).

        `IMPOSSIBLE` without slope where a covariance cannot be inverted: no optimiser goes there.
        """
        try:
            laws = cells(self.layout, theta)
        except np.linalg.LinAlgError:
            return IMPOSSIBLE, np.zeros(len(theta))
        coefficients = self.coefficients(laws)
        value, sums = 0.0, np.zeros(coefficients.shape)
        for start in range(0, len(self.z), _BLOCK):
            phi = self.features[start : start + _BLOCK]
            weight = self.weight[start : start + _BLOCK]
            joint = phi @ coefficients
            top = joint.max(axis=1, keepdims=True)
            np.exp(joint - top, out=joint)
            evidence = joint.sum(axis=1)
            value += float(weight @ (top[:, 0] + np.log(evidence)))
            joint *= (weight / evidence)[:, None]
            sums += phi.T @ joint
        gradient = self.complete(theta, laws, sums).gradient
        return value / self.total, gradient / self.total

    def complete(self, theta: FloatArray, laws: Cells, sums: FloatArray) -> Complete:
        """Expected complete log-likelihood from weighted feature sums, (features, m)."""
        w = self.layout.w
        i, j = self.pairs
        count, first = sums[0], sums[1 : w + 1].T
        second = np.empty((len(count), w, w))
        second[:, i, j] = second[:, j, i] = sums[w + 1 :].T
        mean = laws.mean - self.centre
        cross = mean[:, :, None] * first[:, None, :]
        outer = mean[:, :, None] * mean[:, None, :]
        scatter = second - cross - cross.transpose(0, 2, 1) + count[:, None, None] * outer
        return Complete(
            self.layout, theta, laws.precision, count, first - count[:, None] * mean, scatter
        )
