r"""The expected complete log-likelihood and its derivatives, exact and the size of a window.

Means and covariances are linear in `u`, the means and the variances of the start, the steps, the
noise and the jumps: with `E` for `Layout.reach` and `R` for its first `w` columns

    mean = R u_mean,    S = E diag(u_variance) E',    u = incidence @ (means, squared deviations),

so that with `P = S^-1`, `N` the total responsibility, `d = sum r (z - mean)` and `C` the weighted
scatter about the mean, `G = E' P E`, `B = E' P C P E` and `Q` the expected complete log-likelihood,

    Q'  by the means: R' P d,                by the variances: diag(B - N G) / 2,
    Q'' by the means: -N R' P R,             by the variances: N G * G / 2 - G * B  (entrywise),
        by variance i and mean j: -(E' P R)[i, j] (E' P d)[i].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import softmax

from stopping.changepoint.layout import Layout
from stopping.types import FloatArray


@dataclass(frozen=True, eq=False)
class Complete:
    """Expected complete log-likelihood near `theta`, the responsibilities held.

    Attributes
    ----------
    precision : ndarray, shape (m, w, w)
    count : ndarray, shape (m,)
        Total responsibility of each cell.
    residual, scatter : ndarray, shapes (m, w) and (m, w, w)
        Sums of `z - mean` and of its outer products, weighted by responsibility.
    """

    layout: Layout
    theta: FloatArray
    precision: FloatArray
    count: FloatArray
    residual: FloatArray
    scatter: FloatArray

    @cached_property
    def weighed(self) -> FloatArray:
        """`P E`, (m, w, 2 w + jumps)."""
        return self.precision @ self.layout.reach

    @cached_property
    def pull(self) -> FloatArray:
        """`E' P d`, (m, 2 w + jumps)."""
        found: FloatArray = np.einsum("mij,mi->mj", self.weighed, self.residual)
        return found

    @cached_property
    def by_linear(self) -> FloatArray:
        """Derivative by means and squared deviations, (classes, per_class)."""
        layout = self.layout
        spread = (self.weighed * (self.scatter @ self.weighed)).sum(axis=1)
        held = self.count[:, None] * (layout.reach * self.weighed).sum(axis=1)
        by_u = np.concatenate([self.pull[:, : layout.w], (spread - held) / 2], axis=1)
        by_u = by_u.reshape(layout.classes, *layout.incidence.shape[:2])
        return np.tensordot(by_u, layout.incidence, ((1, 2), (0, 1)))

    @property
    def gradient(self) -> FloatArray:
        """By the vector, (size,)."""
        layout, found = self.layout, np.empty(self.layout.size)
        layout.by_class(found)[:] = self.by_linear * layout.slope(self.theta)
        for counts, at in self._groups():
            found[at] = counts - counts.sum() * softmax(self.theta[at])
        return found

    @property
    def hessian(self) -> FloatArray:
        """Second derivatives by the vector, (size, size); other classes know nothing of one."""
        layout, w = self.layout, self.layout.w
        N, G = self.count[:, None, None], layout.reach.T @ self.weighed
        B = self.weighed.transpose(0, 2, 1) @ self.scatter @ self.weighed
        mixed = -G[:, :, :w] * self.pull[:, :, None]
        by_means, by_variances = -N * G[:, :w, :w], N * G**2 / 2 - G * B
        by_u = np.block([[by_means, mixed.transpose(0, 2, 1)], [mixed, by_variances]])
        found = np.zeros((layout.size, layout.size))
        for c, slope in enumerate(layout.slope(self.theta)):
            turn = layout.incidence * slope
            mine = slice(c * len(turn), (c + 1) * len(turn))
            own = (turn.transpose(0, 2, 1) @ by_u[mine] @ turn).sum(axis=0)
            own += np.diag(np.where(layout.spreads, 2 * self.by_linear[c], 0.0))
            found[layout.own(c), layout.own(c)] = own
        for counts, at in self._groups():
            law = softmax(self.theta[at])
            found[at, at] = counts.sum() * (np.outer(law, law) - np.diag(law))
        return found

    def _groups(self) -> Iterator[tuple[FloatArray, slice]]:
        """Responsibilities of each group of logits, and where it stands in the vector."""
        counts = self.count.reshape(self.layout.classes, -1)
        found = [*counts] if self.layout.turns else []
        return zip([*found, counts.sum(axis=1)], self.layout.logit_groups, strict=True)
