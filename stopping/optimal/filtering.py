"""What a backward scan knows under a change-point model, prepared once for all its steps.

`stopping.changepoint.posterior` answers for one set of layers read, and factorises anew each time.
A scan asks after every layer, so here the covariance of the observed entropies is factorised *in
the order of reading*, `L` first: `S = R R'` with `R` lower triangular, so the innovations

    u = R^-1 (z - mean)

of the first `t + 1` values depend on these alone, and all that is known at time `t` are sums over
them: the log-density, `E[G | read] = mean + sum_{s <= t} u[s] gain[s]`, and the law of the next
reading, `N(mean + sum_{s <= t} R[t+1, s] u[s], R[t+1, t+1]^2)`. Class and turning point are the
pairs of positive probability.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from stopping.changepoint import ChangePointModel
from stopping.errors import UserError
from stopping.optimal.means import MeanTable
from stopping.types import FloatArray, IntArray

_TINY = 1e-12
"""Uniform numbers are kept this far from 0 and 1, where the normal quantile is infinite."""
_LEAST = 1e-13
"""Posterior probability below which a class and turning point are left out of a mean."""
_BLOCK = 1 << 12
"""Histories at a time: (histories, pairs, layers) arrays should fit the cache."""


@dataclass(frozen=True, eq=False)
class Known:
    """Expectations given what was read, in nats.

    Attributes
    ----------
    excess : ndarray, shape (n, w)
        `E[excess(l) | read]`, of the layers not yet read too.
    turning : ndarray, shape (n, w)
        `P(V* = v | read)`.
    """

    excess: FloatArray
    turning: FloatArray


class ScanFilter:
    """Beliefs along a backward scan; histories are `(n, t + 1)`, `L` first, nats.

    Raises
    ------
    UserError
        If the observed entropies of a token have a direction without noise or spread.
    """

    def __init__(self, model: ChangePointModel) -> None:
        self.model = model
        pairs = [
            (np.log(weight * probability), v, component.moments(v))
            for weight, component in zip(model.weights, model.components, strict=True)
            for v, probability in enumerate(component.turning)
            if weight * probability > 0
        ]
        self._log_weight = np.array([pair[0] for pair in pairs])
        self._valley: IntArray = np.array([pair[1] for pair in pairs], dtype=np.intp)
        self._latent_mean = np.array([m.mean for _, _, m in pairs])
        self._mean = self._latent_mean[:, ::-1]
        try:
            root = [cholesky(m.observed[::-1, ::-1], lower=True) for _, _, m in pairs]
        except LinAlgError:
            raise UserError(
                "model: the observed entropies of a token have a direction without noise or "
                "spread; give "
                "noise_sd, drift_sd or rise_sd a positive value there"
            ) from None
        self._root = np.array(root)
        eye = np.eye(model.w)
        self._inverse = np.array([solve_triangular(r, eye, lower=True) for r in root])
        gains = zip(self._inverse, pairs, strict=True)
        self._gain = np.array([inverse @ m.latent[::-1, :] for inverse, (_, _, m) in gains])
        latent = np.array([np.diag(m.latent) for _, _, m in pairs])
        explained = np.cumsum(self._gain**2, axis=1)
        self._variance = np.maximum(latent[:, None, :] - explained, 0.0)
        self._nats = MeanTable(model.scale, float(np.sqrt(self._variance.max(initial=0.0))))

    def known(self, history: FloatArray) -> Known:
        """What is known after `history`."""
        parts = [
            self._known(history[start : start + _BLOCK])
            for start in range(0, max(1, len(history)), _BLOCK)
        ]
        if len(parts) == 1:
            return parts[0]
        return Known(
            np.concatenate([part.excess for part in parts]),
            np.concatenate([part.turning for part in parts]),
        )

    def _known(self, history: FloatArray) -> Known:
        t, w = history.shape[1] - 1, self.model.w
        innovations = self._innovations(history)
        beliefs = special.softmax(self._log_joint(innovations), axis=1)
        z = self._latent_mean + np.einsum("npt,ptl->npl", innovations, self._gain[:, : t + 1])
        # Most pairs are out of the question for a token: their means are not worth the while.
        rows, pairs = np.nonzero(beliefs > _LEAST)
        G = self._nats(z[rows, pairs], self._variance[pairs, t])
        valley = G[np.arange(len(rows)), self._valley[pairs], None]
        weighted = beliefs[rows, pairs, None] * (G - valley)
        # Pairs of one token stand together, and each token has at least one.
        first = np.searchsorted(rows, np.arange(len(history)))
        excess = np.add.reduceat(weighted, first) if len(history) else np.zeros((0, w))
        turning = beliefs @ (self._valley[:, None] == np.arange(w)).astype(np.float64)
        return Known(excess, turning)

    def next_reading(self, history: FloatArray, uniform: FloatArray) -> FloatArray:
        """Draw the next layer's entropy given `history`, from uniform numbers `(n,)`.

        The uniform number picks class and turning point by their posterior probabilities; what is
        left of it is uniform again and picks the value, Gaussian given these and the history.
        """
        t, rows = history.shape[1] - 1, np.arange(len(history))
        innovations = self._innovations(history)
        ends = np.cumsum(special.softmax(self._log_joint(innovations), axis=1), axis=1)
        at = uniform * ends[:, -1]
        # A uniform number is below 1, but its product may round up to the end.
        pair = np.minimum((ends <= at[:, None]).sum(axis=1), len(self._valley) - 1)
        start = np.where(pair > 0, ends[rows, pair - 1], 0.0)
        left = (at - start) / np.maximum(ends[rows, pair] - start, _TINY)
        normal = special.ndtri(np.clip(left, _TINY, 1 - _TINY))
        row = self._root[pair, t + 1]
        explained = (innovations[rows, pair] * row[:, : t + 1]).sum(axis=1)
        z = self._mean[pair, t + 1] + explained + row[:, t + 1] * normal
        return self.model.scale.nats(z)

    def normal(self, history: FloatArray) -> FloatArray:
        """The last reading as a standard normal number: the quantile of its chance given the rest.

        Given class and turning point the last innovation is standard normal, so the distribution
        function is a mean of normal ones over their posterior.
        """
        innovations = self._innovations(history)
        beliefs = special.softmax(self._log_joint(innovations[:, :, :-1]), axis=1)
        uniform = (beliefs * special.ndtr(innovations[:, :, -1])).sum(axis=1)
        found: FloatArray = special.ndtri(np.clip(uniform, _TINY, 1 - _TINY))
        return found

    def _innovations(self, history: FloatArray) -> FloatArray:
        """`u`, shape (n, pairs, t + 1)."""
        seen = history.shape[1]
        z = self.model.scale.of(history)
        centred = z[:, None, :] - self._mean[None, :, :seen]
        found: FloatArray = np.einsum("npt,pst->nps", centred, self._inverse[:, :seen, :seen])
        return found

    def _log_joint(self, innovations: FloatArray) -> FloatArray:
        """Log of the posterior of the pairs, up to a constant of the row, shape (n, pairs)."""
        seen = innovations.shape[2]
        log_det = np.log(np.diagonal(self._root, axis1=1, axis2=2)[:, :seen]).sum(axis=1)
        joint: FloatArray = self._log_weight - log_det - (innovations**2).sum(axis=2) / 2
        return joint
