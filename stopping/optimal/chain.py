"""S1: exact backward induction for a finite Markov chain of observations.

The state at time `t` is one of `m[t]`; `kernels[t][i, j]` is the probability of moving from state
`i` at time `t` to state `j` at time `t + 1`, and `losses[t][i]` what stopping there costs, infinite
where stopping is not allowed. Then

    V[T] = losses[T],   C[t] = cost + kernels[t] @ V[t+1],   V[t] = min(losses[t], C[t]),

and stopping the first time that `losses[t] <= C[t]` attains `V[0]` (Snell 1952; Peskir and
Shiryaev 2006, theorem 1.2). With recall the stopper may return to the best state that was seen;
`with_recall` turns that into a chain without recall, whose state is (state, least loss so far), so
there is one induction for both.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import sparse

from stopping.errors import UserError
from stopping.types import BoolArray, FloatArray, IntArray

Kernel: TypeAlias = "FloatArray | sparse.csr_array"


@dataclass(frozen=True, eq=False)
class Chain:
    """A finite-horizon Markov chain with losses.

    Attributes
    ----------
    initial : ndarray, shape (m[0],)
        Law of the first state.
    kernels : tuple of T matrices, shapes (m[t], m[t+1])
        Transition probabilities, dense or sparse.
    losses : tuple of T + 1 arrays, shapes (m[t],)
        Loss of stopping, `inf` where it is not allowed; finite at `T`.
    cost : float
        Cost of each further observation.

    Raises
    ------
    UserError
        If shapes do not fit, rows are no probabilities, or a loss is NaN, `-inf` or infinite at
        the horizon.
    """

    initial: FloatArray
    kernels: tuple[Kernel, ...]
    losses: tuple[FloatArray, ...]
    cost: float = 0.0

    def __post_init__(self) -> None:
        if len(self.losses) != len(self.kernels) + 1:
            raise UserError(
                f"chain: {len(self.kernels)} kernels need {len(self.kernels) + 1} arrays of "
                f"losses, got {len(self.losses)}"
            )
        if not (np.isfinite(self.cost) and self.cost >= 0):
            raise UserError(f"chain: cost must be a finite number >= 0, got {self.cost}")
        _require_law(np.asarray(self.initial)[None, :], len(self.losses[0]), "initial law")
        for t, kernel in enumerate(self.kernels):
            if kernel.shape[0] != len(self.losses[t]):
                raise UserError(f"chain: kernel {t} has {kernel.shape[0]} rows, not one per state")
            _require_law(kernel, len(self.losses[t + 1]), f"kernel {t}")
        for t, loss in enumerate(self.losses):
            if np.isnan(loss).any() or np.isneginf(loss).any():
                raise UserError(f"chain: losses at time {t} hold NaN or -inf")
        if not np.isfinite(self.losses[-1]).all():
            raise UserError("chain: at the horizon every state must allow stopping")

    @property
    def horizon(self) -> int:
        """Last time `T`, at which one must stop."""
        return len(self.kernels)


@dataclass(frozen=True, eq=False)
class Solution:
    """The Snell envelope of a chain.

    Attributes
    ----------
    value : float
        Least expected loss over all stopping times.
    values, continuation : tuples of arrays, shapes (m[t],)
        `V[t]`, and `C[t]` (infinite at the horizon).
    stops : tuple of bool arrays
        The stopping region; ties stop, which saves an observation.
    """

    value: float
    values: tuple[FloatArray, ...]
    continuation: tuple[FloatArray, ...]
    stops: tuple[BoolArray, ...]


def solve(chain: Chain) -> Solution:
    """Backward induction; exact up to rounding, `O(sum of kernel entries)`."""
    last = np.full(len(chain.losses[-1]), np.inf)
    values, continuation = [chain.losses[-1]], [last]
    for kernel, loss in zip(chain.kernels[::-1], chain.losses[-2::-1], strict=True):
        continuation.append(chain.cost + kernel @ values[-1])
        values.append(np.minimum(loss, continuation[-1]))
    values.reverse()
    continuation.reverse()
    stops = tuple(loss <= c for loss, c in zip(chain.losses, continuation, strict=True))
    return Solution(float(chain.initial @ values[0]), tuple(values), tuple(continuation), stops)


def evaluate(chain: Chain, stops: tuple[BoolArray, ...]) -> float:
    """Exact expected loss of the rule that stops in the region `stops` and at the horizon.

    Raises
    ------
    UserError
        If the region stops where the chain does not allow it.
    """
    value = chain.losses[-1]
    for kernel, loss, stop in zip(
        chain.kernels[::-1], chain.losses[-2::-1], stops[-2::-1], strict=True
    ):
        if not np.isfinite(loss[stop]).all():
            raise UserError("region: stops in a state that does not allow it")
        value = np.where(stop, loss, chain.cost + kernel @ value)
    return float(chain.initial @ value)


def simulate(
    chain: Chain, stops: tuple[BoolArray, ...], rng: np.random.Generator, n: int
) -> FloatArray:
    """Loss of `n` runs of the rule `stops`, paid observations included, shape (n,)."""
    state = rng.choice(len(chain.initial), size=n, p=chain.initial)
    result = np.empty(n)
    running = np.arange(n)
    for t in range(chain.horizon + 1):
        halt = stops[t][state] if t < chain.horizon else np.ones(len(state), dtype=np.bool_)
        result[running[halt]] = chain.losses[t][state[halt]] + t * chain.cost
        running, state = running[~halt], state[~halt]
        if not running.size:
            break
        state = _step(chain.kernels[t], state, rng)
    return result


def with_recall(chain: Chain) -> Chain:
    """The chain in which stopping costs the least loss seen so far.

    States become pairs (state, rank of the least loss so far); pairs that cannot be reached are
    left out. A state that does not allow stopping leaves the least loss as it is.
    """
    levels = np.unique(np.concatenate([loss[np.isfinite(loss)] for loss in chain.losses]))
    barred = len(levels)
    ranks = [np.where(np.isfinite(x), np.searchsorted(levels, x), barred) for x in chain.losses]
    worth = np.append(levels, np.inf)
    pairs: list[IntArray] = [np.column_stack([np.arange(len(ranks[0])), ranks[0]])]
    kernels: list[Kernel] = []
    for t, kernel in enumerate(chain.kernels):
        moves = sparse.csr_array(kernel)[pairs[t][:, 0]].tocoo()
        source, target = moves.coords
        best = np.minimum(pairs[t][source, 1], ranks[t + 1][target])
        found, column = np.unique(np.column_stack([target, best]), axis=0, return_inverse=True)
        kernels.append(
            sparse.csr_array(
                (moves.data, (source, column.ravel())), shape=(len(pairs[t]), len(found))
            )
        )
        pairs.append(found)
    return Chain(chain.initial, tuple(kernels), tuple(worth[p[:, 1]] for p in pairs), chain.cost)


def _step(kernel: Kernel, state: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw the next state of each row, by inverting the distribution function."""
    dense = kernel[np.unique(state)]
    rows = dense if isinstance(dense, np.ndarray) else dense.toarray()
    cumulative = np.cumsum(rows, axis=1)
    _, row = np.unique(state, return_inverse=True)
    draws = rng.random(len(state)) * cumulative[row, -1]
    drawn: IntArray = (cumulative[row] <= draws[:, None]).sum(axis=1)
    return drawn


def _require_law(kernel: Kernel, columns: int, what: str) -> None:
    if kernel.ndim != 2 or kernel.shape[1] != columns:
        raise UserError(f"chain: {what} has shape {kernel.shape}, expected {columns} columns")
    weights = kernel.data if isinstance(kernel, sparse.csr_array) else np.asarray(kernel)
    total = np.asarray(kernel.sum(axis=1)).ravel()
    if not (np.isfinite(total).all() and (np.abs(total - 1) < 1e-9).all() and weights.min() >= 0):
        raise UserError(f"chain: {what} must hold probabilities that sum to 1 in each row")
