r"""Gains by difficulty, and why the run that is compared must not rank the problems.

The paper sorts problems into quarters by how hard they are for plain decoding and finds that the
gain is largest where plain decoding fails. Sorting by *the very run that is compared* would show
this pattern for any decoder at all: with `y[i]` the outcome of a run that solves problem `i` with
probability `pi[i]`, the problems with `y[i] = 0` are solved by an independent second run at the
rate `E[pi (1 - pi)] / E[1 - pi] > 0`, so among them the second run "gains", and among those with
`y[i] = 1` it "loses" (regression to the mean; Galton 1886). Neither says anything about decoding.

So the quarters are ranked here by *other* runs of plain decoding, drawn with seeds of their own:
given the ranking, gain and rank are independent but for the true difficulty. Two more breakdowns
stand beside it: the one ranked by the compared run itself, and the same for two plain runs, where
nothing was changed: what it shows is the artefact alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from empirical.evaluation.paired import Paired, paired
from stopping.errors import UserError
from stopping.types import IntArray

QUARTERS = 4


@dataclass(frozen=True)
class Quartile:
    """Problems of one quarter, 1 the hardest; intervals at 95 %, not adjusted."""

    number: int
    measures: Paired


@dataclass(frozen=True)
class Difficulty:
    """Gains of the search over plain decoding by quarter.

    Attributes
    ----------
    samples : int
        Plain runs that ranked the problems.
    independent : tuple of Quartile
        The search against plain decoding, ranked by other plain runs.
    same_run : tuple of Quartile
        The same, ranked by the plain run that is compared: biased.
    nothing_changed : tuple of Quartile
        A second plain run against a first, ranked by the first: the bias alone.
    """

    samples: int
    independent: tuple[Quartile, ...]
    same_run: tuple[Quartile, ...]
    nothing_changed: tuple[Quartile, ...]


def difficulty(
    search: ArrayLike,
    plain: ArrayLike,
    samples: ArrayLike,
    seed: int,
    groups: ArrayLike | None = None,
) -> Difficulty:
    """Break the gain down.

    Parameters
    ----------
    search, plain : array_like of bool, shape (n,)
        Whether each problem was solved, in the runs that are compared.
    samples : array_like of bool, shape (s, n)
        The same in `s >= 2` other runs of plain decoding.
    seed : int
        Breaks ties of the ranking.
    groups : array_like, shape (n,), optional
        As of `paired`.

    Raises
    ------
    UserError
        If there are fewer than two samples or four problems.
    """
    runs = np.asarray(samples, dtype=np.float64)
    if runs.ndim != 2 or len(runs) < 2:
        raise UserError(f"difficulty: needs samples of shape (2 or more, n), got {runs.shape}")
    return Difficulty(
        samples=len(runs),
        independent=quartiles(search, plain, runs.mean(axis=0), seed, groups),
        same_run=quartiles(search, plain, plain, seed, groups),
        nothing_changed=quartiles(runs[1], runs[0], runs[0], seed, groups),
    )


def quartiles(
    rule: ArrayLike,
    plain: ArrayLike,
    ease: ArrayLike,
    seed: int = 0,
    groups: ArrayLike | None = None,
) -> tuple[Quartile, ...]:
    """Compare two runs in each quarter of the problems, hardest first.

    Parameters
    ----------
    rule, plain : array_like of bool, shape (n,)
        Outcomes of the two runs.
    ease : array_like, shape (n,)
        What ranks the problems; ties fall by lot.
    groups : array_like, shape (n,), optional
        As of `paired`.

    Raises
    ------
    UserError
        If there are fewer than four problems, or the shapes differ.
    """
    a, b, rank = (np.asarray(v, dtype=np.float64) for v in (rule, plain, ease))
    if a.ndim != 1 or not a.shape == b.shape == rank.shape or len(a) < QUARTERS:
        raise UserError(
            f"difficulty: outcomes {a.shape} and {b.shape}, ranks {rank.shape}: need one of each "
            f"for at least {QUARTERS} problems"
        )
    labels = np.arange(len(a)) if groups is None else np.asarray(groups)
    order: IntArray = np.lexsort((np.random.default_rng(seed).random(len(rank)), rank))
    return tuple(
        Quartile(number, paired(a[members] > 0, b[members] > 0, groups=labels[members]))
        for number, members in enumerate(np.array_split(order, QUARTERS), start=1)
    )
