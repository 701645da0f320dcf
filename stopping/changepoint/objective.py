r"""The log-likelihood of many tokens with its gradient, as two matrix products.

A Gaussian log-density is linear in the features `phi(z) = (1, z, z_i z_j for i <= j)`, so the table
of `log P(c, v) N(z; mean_cv, S_cv)` over tokens, classes and turning points is one product

    Phi (n, features)  @  coefficients (features, classes * w).

By Fisher's identity the gradient of the log-likelihood is that of the *expected complete* one at
the same parameters, which needs only responsibility-weighted moments of `z` for each `(c, v)`:
a second product, `Phi' @ responsibilities`. With `P = S^-1`, `N` the total responsibility and `C`
the weighted scatter about the mean,

    d/d mean = P (sum r z - N mean),     d/d S = (P C P - N P) / 2,

and both means and covariances are linear in the parameters, so their derivatives are sums of
suffix sums (a step at layer `k` shifts all layers from `k` on). This is the E-step of EM in closed
form; scipy's L-BFGS-B then takes the place of the M-step, since it also handles the bounds.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

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
    """Laws of all cells at `theta`."""
    turning = slice(None) if layout.turns else slice(layout.w - 1, None)
    weights = softmax(layout.weight_logits(theta))
    components = [layout.component(theta, c) for c in range(layout.classes)]
    moments = [component.all_moments() for component in components]
    covariance = np.concatenate([found.observed[turning] for found in moments])
    priors = [
        weight * component.turning[turning]
        for weight, component in zip(weights, components, strict=True)
    ]
    return Cells(
        log_prior=np.log(np.concatenate(priors)),
        mean=np.concatenate([found.mean[turning] for found in moments]),
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
        gradient = self.pull_back(theta, laws, sums)
        return value / self.total, gradient / self.total

    def pull_back(self, theta: FloatArray, laws: Cells, sums: FloatArray) -> FloatArray:
        """Gradient of the expected complete log-likelihood from weighted feature sums."""
        w = self.layout.w
        i, j = self.pairs
        count, first = sums[0], sums[1 : w + 1].T
        second = np.empty((len(count), w, w))
        second[:, i, j] = second[:, j, i] = sums[w + 1 :].T
        mean = laws.mean - self.centre
        cross = mean[:, :, None] * first[:, None, :]
        outer = mean[:, :, None] * mean[:, None, :]
        scatter = second - cross - cross.transpose(0, 2, 1) + count[:, None, None] * outer
        P = laws.precision
        by_mean = np.einsum("mij,mj->mi", P, first - count[:, None] * mean)
        by_covariance = (P @ scatter @ P - count[:, None, None] * P) / 2
        return gradient_of_cells(self.layout, theta, count, by_mean, by_covariance)


def gradient_of_cells(
    layout: Layout,
    theta: FloatArray,
    count: FloatArray,
    by_mean: FloatArray,
    by_covariance: FloatArray,
) -> FloatArray:
    """Chain rule from the cells' means and covariances to the parameters.

    Parameters
    ----------
    count : ndarray, shape (m,)
        Total responsibility of each cell.
    by_mean, by_covariance : ndarray, shapes (m, w) and (m, w, w)
        Derivatives by each cell's mean and covariance.
    """
    w, per_cell = layout.w, layout.w if layout.turns else 1
    shape = (layout.classes, per_cell)
    # A step onto layer k moves all layers from k on.
    mean_from = by_mean[:, ::-1].cumsum(axis=1)[:, ::-1].reshape(*shape, w)
    square = by_covariance[:, ::-1, ::-1].cumsum(axis=1).cumsum(axis=2)[:, ::-1, ::-1]
    variance_from = np.diagonal(square, axis1=1, axis2=2).reshape(*shape, w)
    diagonal = np.diagonal(by_covariance, axis1=1, axis2=2).reshape(*shape, w).sum(axis=1)
    counts = count.reshape(shape)
    refines = np.ones((1, w - 1), dtype=np.bool_)
    if layout.turns:
        refines = np.arange(w)[:, None] >= np.arange(1, w)
    gradient = np.empty(layout.size)
    for c in range(layout.classes):
        steps_mean, steps_variance = mean_from[c, :, 1:], variance_from[c, :, 1:]
        own = {
            "start_mean": mean_from[c, :, 0].sum(),
            "start_sd": variance_from[c, :, 0].sum(),
            "drift_mean": -(steps_mean * refines).sum(axis=0),
            "drift_sd": (steps_variance * refines).sum(axis=0),
        }
        if layout.turns:
            law = softmax(layout.part(theta, c, "turning"))
            own |= {
                "rise_mean": (steps_mean * ~refines).sum(axis=0),
                "rise_sd": (steps_variance * ~refines).sum(axis=0),
                "turning": counts[c] - counts[c].sum() * law,
            }
        if layout.noisy:
            own["noise_sd"] = diagonal[c, :-1].copy()
            if layout.final_noise == "tied":
                own["noise_sd"][-1] += diagonal[c, -1]
        for name, value in own.items():
            if name.endswith("_sd"):
                value = 2 * layout.part(theta, c, name) * value
            layout.part(gradient, c, name)[:] = value
        mine = by_covariance.reshape(*shape, w, w)[c].sum(axis=0)
        for kind in range(1, int(layout.types.max()) + 1):
            of_kind = layout.types == kind
            spread = layout.part(theta, c, "jump_sd")[kind - 1]
            layout.part(gradient, c, "jump_sd")[kind - 1] = (
                2 * spread * mine[np.ix_(of_kind, of_kind)].sum()
            )
    members = counts.sum(axis=1)
    layout.weight_logits(gradient)[:] = members - members.sum() * softmax(
        layout.weight_logits(theta)
    )
    return gradient
