"""S2: the dual bound (Rogers 2002; Haugh and Kogan 2004; Andersen and Broadie 2004), for losses.

For every martingale `M` with `M[0] = 0` and every stopping time, optional sampling gives

    E[loss[nu]] = E[loss[nu] - M[nu]] >= E[ min_t (loss[t] - M[t]) ],

so the right side bounds the value from below (for a reward: the maximum bounds it from above), with
equality for the martingale of the Snell envelope. Here `M` sums up `W[t+1] - E[W[t+1] | F[t]]`,
where `W` is the envelope that the regression found and the conditional mean is itself estimated
from `inner` continuations of the history, drawn afresh (nested simulation). Their noise is a
martingale too, so the bound holds for any number of them; more make it tighter.

Where the policy has a control (`stopping.optimal.control`), its increments come first, of mean 0
by construction, and only what they leave of `W` is nested: `inner = 0` nests nothing and is the
cheapest bound.

The first observation is random as well, and `W[0]` explains most of what it changes: its mean is
estimated from many more first observations, which cost next to nothing (a control variate).
"""

from dataclasses import dataclass

import numpy as np

from stopping.errors import UserError
from stopping.optimal.problem import View, prolonged
from stopping.optimal.regression import Policy
from stopping.types import FloatArray


@dataclass(frozen=True, eq=False)
class Dual:
    """Draws `min_t (loss[t] - M[t])` for a policy's martingale.

    Attributes
    ----------
    policy : Policy
    inner : int
        Continuations of each history, the budget; 0 for the control's martingale alone.
    starts : int
        First observations for each draw, for the control variate.
    """

    policy: Policy
    inner: int = 100
    starts: int = 16

    def __post_init__(self) -> None:
        if self.inner < (0 if self.policy.controlled else 1):
            raise UserError(
                f"inner: continuations must be >= 1, got {self.inner}; 0 needs a policy fitted "
                "with a control"
            )

    def draw(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw `n` values, shape (n,); their mean bounds the value from below."""
        problem = self.policy.problem
        x = problem.sample(rng, n)
        view = problem.look(x[:, :1])
        others = self._envelope(problem.sample(rng, n * self.starts)[:, :1])
        martingale = self._value(0, view) - others.reshape(n, self.starts).mean(axis=1)
        least: FloatArray = view.loss - martingale
        for t in range(problem.horizon):
            history = x[:, : t + 2]
            before, view = view, problem.look(history)
            if self.inner:
                further = prolonged(problem, rng, x[:, : t + 1], self.inner)
                copies = before.take(np.repeat(np.arange(n), self.inner))
                after = problem.look(further)
                left = self._value(t + 1, after) - self.policy.increment(t, copies, after, further)
                martingale += self._value(t + 1, view) - left.reshape(n, self.inner).mean(axis=1)
            else:
                martingale += self.policy.increment(t, before, view, history)
            least = np.minimum(least, view.loss - martingale)
        return least

    def _envelope(self, history: FloatArray) -> FloatArray:
        """Approximate value at the last time of `history`."""
        return self._value(history.shape[1] - 1, self.policy.problem.look(history))

    def _value(self, t: int, view: View) -> FloatArray:
        return (
            view.loss if t == self.policy.problem.horizon else self.policy.stages[t].envelope(view)
        )
