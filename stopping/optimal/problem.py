"""A stopping problem as simulation sees it: histories can be drawn, prolonged and looked at.

All that a rule may use at time `t` is the history `x[0..t]`, and `look` gets nothing else: an
adapted rule is the only kind that can be written against this interface.
"""

import abc
from dataclasses import dataclass

import numpy as np

from stopping.types import BoolArray, FloatArray


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
    """

    loss: FloatArray
    features: FloatArray
    eligible: BoolArray
    anchor: FloatArray


class AbstractProblem(abc.ABC):
    """A finite-horizon stopping problem of which histories can be simulated."""

    @property
    @abc.abstractmethod
    def horizon(self) -> int:
        """Last time `T`, at which one must stop."""

    @abc.abstractmethod
    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw `n` whole histories, shape (n, T + 1)."""

    @abc.abstractmethod
    def extend(self, uniform: FloatArray, history: FloatArray) -> FloatArray:
        """Next observation given each history `(n, t + 1)`, from uniform numbers `(n,)`."""

    @abc.abstractmethod
    def look(self, history: FloatArray) -> View:
        """What is known at time `t` from histories `(n, t + 1)`."""


def prolonged(
    problem: AbstractProblem, rng: np.random.Generator, history: FloatArray, copies: int
) -> FloatArray:
    """Return `copies` continuations by one step of each history, (n * copies, t + 2).

    The uniform numbers of one history are a lattice with a random shift: each is uniform, so means
    over the copies are unbiased, and far less noisy than with independent ones.
    """
    shift = rng.random((len(history), 1))
    uniform = (np.arange(copies) + shift) / copies
    repeated = np.repeat(history, copies, axis=0)
    return np.column_stack([repeated, problem.extend(uniform.ravel(), repeated)])
