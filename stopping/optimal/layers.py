"""The layers of a token as a stopping problem, under a change-point model.

Time `t` is the number of projections made beyond the final layer's: at `t` the layers `L, L-1, ..,
L-t` have been read, and nothing of the others is known. Stopping costs what has been paid and the
*expected* excess given what was read (the excess itself is never seen),

    loss[t] = cost t + E[excess(L-t) | x[L-t..L]]                          without recall,
    loss[t] = cost t + min over l >= L-t of E[excess(l) | x[L-t..L]]       with recall.

By the tower property the mean of `loss[nu]` is the mean cost and excess of the rule. With recall
the layer chosen is the one that attains the minimum, and at `cost = 0` nothing is lost by reading
on, so the value is that of the Bayes rule on the full window, S3.

The paper's search reads `x[l-1]` before it may stop at `l`: it is a rule *with recall* (by one
layer), as are all rules of this package that go back and look first. It is the value with recall
that none of them can beat.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stopping.changepoint import ChangePointModel
from stopping.errors import UserError
from stopping.optimal.filtering import ScanFilter
from stopping.optimal.problem import AbstractControlledProblem, View, hermite
from stopping.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class LayerProblem(AbstractControlledProblem):
    """When to stop reading layers backwards.

    Attributes
    ----------
    model : ChangePointModel
        Law of the tokens.
    cost : float
        Of each projection, nats.
    recall : bool
        Whether one may return to a layer that was read.
    """

    model: ChangePointModel
    cost: float
    recall: bool = True

    def __post_init__(self) -> None:
        if not (np.isfinite(self.cost) and self.cost >= 0):
            raise UserError(f"cost: must be a number of nats >= 0, got {self.cost}")

    @property
    def horizon(self) -> int:
        """`K`, the steps back that the window allows."""
        return self.model.K

    @cached_property
    def filter(self) -> ScanFilter:
        """Beliefs along the scan."""
        return ScanFilter(self.model)

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Entropies of `n` tokens in the order of reading, `L` first."""
        return np.ascontiguousarray(self.model.sample(rng, n).x[:, ::-1])

    def extend(self, uniform: FloatArray, history: FloatArray) -> FloatArray:
        """Draw the next layer's entropy from its conditional law, a Gaussian mixture."""
        return self.filter.next_reading(history, uniform)

    def increments(self, before: View, after: View, history: FloatArray) -> FloatArray:
        """What the last entropy changed in the expected excess of each layer; and itself.

        Posterior means are martingales, and so are sums of Hermite polynomials of the observed
        entropies, made normal numbers.
        """
        assert before.means is not None
        assert after.means is not None
        number = self.filter.normal(history)[:, None]
        return np.column_stack([after.means - before.means, hermite(number, 4)])

    def look(self, history: FloatArray) -> View:
        """Expected losses of stopping now and, blindly, at each later time; and the beliefs.

        The regression starts from `ahead`, the least loss that could be planned for now without
        reading on: it bounds the continuation value from above, as reading cannot hurt.
        """
        found = self.filter.known(history)
        now, ahead, next_one = self._losses(found.excess, history.shape[1] - 1)
        l = self.horizon - history.shape[1] + 1  # noqa: E741  # the layer read last
        below = found.turning[:, :l].sum(axis=1)
        features = np.column_stack([now - ahead, next_one - ahead, below, found.turning[:, l]])
        return View(now, features, np.ones(len(history), dtype=np.bool_), ahead, found.excess)

    def choice(self, history: FloatArray) -> IntArray:
        """Column of the window to decode when stopping after `history`, shape (n,)."""
        first = self.horizon - history.shape[1] + 1
        if not self.recall:
            return np.full(len(history), first)
        excess = self.filter.known(history).excess[:, first:]
        deepest: IntArray = excess[:, ::-1].argmin(axis=1)
        return self.horizon - deepest

    def _losses(self, excess: FloatArray, t: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Loss of stopping now, of the best open-loop plan from here on, and of one step on."""
        first, paid = self.horizon - t, self.cost * t
        now = excess[:, first:].min(axis=1) if self.recall else excess[:, first]
        if first == 0:
            return now + paid, now + paid, now + paid
        later = excess[:, :first] + self.cost * np.arange(first, 0, -1)
        if self.recall:
            # Whoever plans to read one more layer may return to the present best one.
            later[:, -1] = np.minimum(later[:, -1], now + self.cost)
        return now + paid, later.min(axis=1) + paid, later[:, -1] + paid
