"""S2: the dual bound (Rogers 2002; Haugh and Kogan 2004; Andersen and Broadie 2004), for losses.

For every martingale `M` with `M[0] = 0` and every stopping time, optional sampling gives

    E[loss[tau]] = E[loss[tau] - M[tau]] >= E[ min_t (loss[t] - M[t]) ],

so the right side bounds the value from below (for a reward: the maximum bounds it from above), with
equality for the martingale of the Snell envelope. Here `M` sums up `W[t+1] - E[W[t+1] | F[t]]`,
where `W` is the envelope that the regression found and the conditional mean is itself estimated
from `inner` continuations of the history, drawn afresh (nested simulation). Their noise is a
martingale too, so the bound holds for any number of them; more make it tighter.

The first observation is random as well, and `W[0]` explains most of what it changes: its mean is
estimated from many more first observations, which cost next to nothing (a control variate).
"""

from dataclasses import dataclass

import numpy as np

from stopping.optimal.problem import prolonged
from stopping.optimal.regression import Policy
from stopping.types import FloatArray


@dataclass(frozen=True, eq=False)
class Dual:
    """Draws `min_t (loss[t] - M[t])` for a policy's martingale.

    Attributes
    ----------
    policy : Policy
    inner : int
        Continuations of each history.
    starts : int
        First observations for each draw, for the control variate.
    """

    policy: Policy
    inner: int = 100
    starts: int = 16

    def draw(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw `n` values, shape (n,); their mean bounds the value from below."""
        problem = self.policy.problem
        x = problem.sample(rng, n)
        loss, first = self._envelope(x[:, :1])
        others = self._envelope(problem.sample(rng, n * self.starts)[:, :1])[1]
        martingale = first - others.reshape(n, self.starts).mean(axis=1)
        least: FloatArray = loss - martingale
        for t in range(problem.horizon):
            further = prolonged(problem, rng, x[:, : t + 1], self.inner)
            mean = self._envelope(further)[1].reshape(n, self.inner).mean(axis=1)
            loss, envelope = self._envelope(x[:, : t + 2])
            martingale += envelope - mean
            least = np.minimum(least, loss - martingale)
        return least

    def _envelope(self, history: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Loss of stopping and approximate value at the last time of `history`."""
        view = self.policy.problem.look(history)
        t = history.shape[1] - 1
        if t == self.policy.problem.horizon:
            return view.loss, view.loss
        return view.loss, self.policy.stages[t].envelope(view)
