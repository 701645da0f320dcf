"""S2: least-squares Monte Carlo (Longstaff and Schwartz 2001), for losses.

Going back from the horizon, the loss that the rule found so far will meet is regressed on functions
of what is known at time `t`; the fit estimates the continuation value `C[t]`, and the rule stops
where the loss of stopping is at most that. Any such rule is a stopping time, so on *fresh* paths
its mean loss is an upper bound of the value (for a reward, a lower bound), up to a standard error
and however poor the regression. `stopping.optimal.dual` bounds the value from the other side.
"""

from dataclasses import dataclass

import numpy as np

from stopping.errors import UserError
from stopping.optimal.bases import AbstractBasis, Fitted
from stopping.optimal.control import Control, ControlFit, Increment
from stopping.optimal.learners import Solution
from stopping.optimal.problem import AbstractControlledProblem, AbstractProblem, View
from stopping.optimal.training import BLOCK, TrainingPaths
from stopping.support.threads import one_thread
from stopping.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Stage:
    """The regressions of one time `t < T`.

    Attributes
    ----------
    fitted : Fitted
        Basis.
    decision : Solution
        Continuation value above the anchor where stopping is eligible: what the rule compares with.
    value : Solution
        The same everywhere, for the dual bound.
    control : Increment, optional
        Martingale increment of the step that follows.
    """

    fitted: Fitted
    decision: Solution
    value: Solution
    control: Increment | None = None

    def stops(self, view: View) -> BoolArray:
        """Whether the rule stops, shape (n,)."""
        ahead = view.anchor + self.decision(self.fitted(view.features))
        return view.eligible & (view.loss <= ahead)

    def envelope(self, view: View) -> FloatArray:
        """Approximate value `min(loss, C)`, shape (n,)."""
        return np.minimum(view.loss, view.anchor + self.value(self.fitted(view.features)))


@dataclass(frozen=True, eq=False)
class Policy:
    """An approximately optimal rule for a problem; one stage for each `t < T`."""

    problem: AbstractProblem
    stages: tuple[Stage, ...]

    @property
    def controlled(self) -> bool:
        """Whether each step has a control."""
        return all(stage.control is not None for stage in self.stages)

    def run(self, x: FloatArray) -> tuple[IntArray, FloatArray]:
        """Stopping time and loss met on whole histories `(n, T + 1, ..)`."""
        time, loss, _ = self._follow(x, controlled=False)
        return time, loss

    def draw(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Losses met on `n` fresh paths: their mean bounds the value from above.

        Less the control's martingale at the stopping time, where there is one: that has mean 0
        and takes most of the noise with it.
        """
        _, loss, martingale = self._follow(self.problem.sample(rng, n), controlled=True)
        return loss - martingale

    def increment(self, t: int, before: View, after: View, history: FloatArray) -> FloatArray:
        """Increment of the control's martingale at the last step of histories `(n, t + 2, ..)`."""
        control = self.stages[t].control
        if control is None or not isinstance(self.problem, AbstractControlledProblem):
            return np.zeros(len(history))
        return control(before.features, self.problem.increments(before, after, history))

    def _follow(
        self, x: FloatArray, *, controlled: bool
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """Stopping time, loss met and martingale at the stopping time."""
        n = len(x)
        time, loss, martingale = np.full(n, self.problem.horizon), np.empty(n), np.zeros(n)
        running, view = np.arange(n), self.problem.look(x[:, :1])
        for t, stage in enumerate(self.stages):
            halt = stage.stops(view)
            time[running[halt]], loss[running[halt]] = t, view.loss[halt]
            running, before = running[~halt], view.take(~halt)
            if not running.size:
                return time, loss, martingale
            history = x[running, : t + 2]
            view = self.problem.look(history)
            if controlled:
                martingale[running] += self.increment(t, before, view, history)
        loss[running] = view.loss
        return time, loss, martingale


@one_thread()
def fit_policy(
    problem: AbstractProblem,
    basis: AbstractBasis,
    rng: np.random.Generator,
    n: int,
    control: AbstractBasis | None = None,
    *,
    block: int = BLOCK,
) -> Policy:
    """Regress backwards on `n` paths.

    With a basis for the `control`, what is known of a step's martingales is taken off before the
    step before it is regressed, and kept for the dual bound.

    Parameters
    ----------
    block : int
        Paths held at a time. More are drawn anew for each time of the horizon, so that memory is
        that of a block and one number for each path.

    Raises
    ------
    UserError
        If there are fewer than ten paths for each column of the regression, or a control is asked
        for where no martingale of the steps is known.
    """
    if control is not None and not isinstance(problem, AbstractControlledProblem):
        raise UserError(
            f"control: no martingales of the steps of {type(problem).__name__} are known; leave it "
            "out"
        )
    paths = TrainingPaths(problem, rng, n, block)
    met = np.concatenate([piece.view.loss for piece in paths.at(problem.horizon)])
    stages: list[Stage] = []
    for t in range(problem.horizon - 1, -1, -1):
        first = next(paths.at(t)).view.features
        fitted = basis.fit(first)
        width = fitted(first[:1]).shape[1]
        if n < 10 * width:
            raise UserError(
                f"regression: {width} columns need at least {10 * width} paths, got {n}; draw more "
                "paths or choose a smaller basis"
            )
        increment = None
        if control is not None:
            increment = _fit_control(paths, t, control.fit(first), fitted, met)
            for piece in paths.at(t):
                met[piece.rows] -= increment(piece.view.features, piece.increments)
        stage = _fit_stage(paths, t, fitted, met, increment)
        for piece in paths.at(t):
            stops = stage.stops(piece.view)
            met[piece.rows] = np.where(stops, piece.view.loss, met[piece.rows])
        stages.append(stage)
    return Policy(problem, tuple(stages[::-1]))


def _fit_control(
    paths: TrainingPaths, t: int, phi: Fitted, around: Fitted, met: FloatArray
) -> Control:
    fit = ControlFit(phi)
    for piece in paths.at(t):
        features = piece.view.features
        target = met[piece.rows] - piece.view.anchor
        fit.add(features, piece.increments, around(features), target)
    return fit.solve()


def _fit_stage(
    paths: TrainingPaths, t: int, fitted: Fitted, met: FloatArray, control: Control | None
) -> Stage:
    """Regress on all paths, and on those where stopping is eligible if they are enough."""
    everywhere, inside = fitted.basis.learner(), fitted.basis.learner()
    chosen = width = 0
    for piece in paths.at(t):
        view = piece.view
        columns, target = fitted(view.features), met[piece.rows] - view.anchor
        everywhere.add(columns, target)
        inside.add(columns[view.eligible], target[view.eligible])
        chosen, width = chosen + int(view.eligible.sum()), columns.shape[1]
    value = everywhere.solve()
    partial = 10 * width <= chosen < len(met)
    return Stage(fitted, inside.solve() if partial else value, value, control)
