"""A stopping problem as simulation sees it: histories can be drawn, prolonged and looked at.

All that a rule may use at time `t` is the history `x[0..t]`, and `look` gets nothing else: an
adapted rule is the only kind that can be written against this interface.
"""

import abc
import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from stopping.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class View:
    """What is known of `n` runs at one time.

    Attributes
    ----------
    loss : ndarray, shape (n,)
        Expected loss of stopping now, given the history, observations paid so far included.
    features : ndarray, shape (n, p)
        What a regression of the continuation value may use.
    eligible : bool ndarray, shape (n,)
        False where stopping now is never right, so that the regression need not be good there.
    anchor : ndarray, shape (n,)
        A first guess of the loss of going on, of which the regression learns the error.
    means : ndarray, shape (n, m), optional
        Expectations given the history, of whatever will be known in the end: martingales in time.
    """

    loss: FloatArray
    features: FloatArray
    eligible: BoolArray
    anchor: FloatArray
    means: FloatArray | None = None

    def take(self, rows: BoolArray | IntArray) -> "View":
        """Some of the runs."""
        means = None if self.means is None else self.means[rows]
        kept = self.loss[rows], self.features[rows], self.eligible[rows], self.anchor[rows]
        return View(*kept, means)


class AbstractProblem(abc.ABC):
    """A finite-horizon stopping problem of which histories can be simulated.

    An observation is a number, or a vector: then histories have one more axis, `(n, t + 1, d)`.
    """

    @property
    def dimension(self) -> int:
        """Uniform numbers `d` that one step takes."""
        return 1

    @property
    @abc.abstractmethod
    def horizon(self) -> int:
        """Last time `T`, at which one must stop."""

    @abc.abstractmethod
    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw `n` whole histories, shape (n, T + 1) or (n, T + 1, d)."""

    @abc.abstractmethod
    def extend(self, uniform: FloatArray, history: FloatArray) -> FloatArray:
        """Next observation given each history `(n, t + 1, ..)`, from uniform numbers.

        Their shape is (n,), or (n, d) where `dimension` is more than 1.
        """

    @abc.abstractmethod
    def look(self, history: FloatArray) -> View:
        """What is known at time `t` from histories `(n, t + 1, ..)`."""


class AbstractControlledProblem(AbstractProblem):
    """A problem of which functions of a step are known whose mean, given the past, is 0."""

    @abc.abstractmethod
    def increments(self, before: View, after: View, history: FloatArray) -> FloatArray:
        """Functions `(n, m)` of the last step of histories `(n, t + 2, ..)`.

        Given the history before the step, each has mean 0: it is a martingale's increment. What is
        known before and after the step is given, as whoever asks has looked.
        """


class AbstractGaussianProblem(AbstractControlledProblem):
    """A problem whose next observation is a function of the history and a normal vector."""

    @abc.abstractmethod
    def step(self, history: FloatArray, normal: FloatArray) -> FloatArray:
        """Next observation from standard normal numbers `(n,)` or `(n, d)`."""

    @abc.abstractmethod
    def innovation(self, history: FloatArray) -> FloatArray:
        """The normal numbers `(n, d)` of the last step of histories `(n, t + 2, ..)`.

        In any order, and turned in any way, that the history before the step decides: given it,
        they must be independent and standard normal.
        """

    def extend(self, uniform: FloatArray, history: FloatArray) -> FloatArray:
        """Next observation by inversion."""
        return self.step(history, ndtri(np.clip(uniform, 1e-16, 1 - 1e-16)))

    def increments(self, before: View, after: View, history: FloatArray) -> FloatArray:
        """Hermite polynomials of the normal numbers."""
        return hermite(self.innovation(history))


def hermite(normal: FloatArray, degree: int = 2) -> FloatArray:
    """Orthonormal polynomials of mean 0 of normal numbers `(n, d)`, shape (n, degree d).

    `z`, `(z**2 - 1) / sqrt(2)`, ..; of each number alone.
    """
    made = [np.ones_like(normal), normal]
    for k in range(1, degree):
        made.append(normal * made[k] - k * made[k - 1])
    return np.column_stack([h / math.sqrt(math.factorial(k)) for k, h in enumerate(made) if k])


def prolonged(
    problem: AbstractProblem, rng: np.random.Generator, history: FloatArray, copies: int
) -> FloatArray:
    """Return `copies` continuations by one step of each history, (n * copies, t + 2, ..).

    The uniform numbers of one history are a lattice, for vectors Sobol's points, with a random
    shift: each is uniform, so means over the copies are unbiased, and far less noisy than with
    independent ones.
    """
    n, d = len(history), problem.dimension
    if d == 1:
        uniform: FloatArray = ((np.arange(copies) + rng.random((n, 1))) / copies).reshape(-1)
    else:
        from scipy.stats import qmc  # a quarter of a second, which most commands do not need

        power = max(copies - 1, 1).bit_length()
        points = qmc.Sobol(d, scramble=False).random_base2(power)[:copies]
        uniform = ((points + rng.random((n, 1, d))) % 1.0).reshape(-1, d)
    repeated = np.repeat(history, copies, axis=0)
    further = problem.extend(uniform, repeated)
    return np.concatenate([repeated, further[:, None]], axis=1)
