"""Linear pools on traces, each beside the draw of the same weights (M1).

A pool `weight p_L + (1 - weight) p_V` gives the reference token a probability that follows from the
two layers' own, so its log-loss is exact here. Its most probable token and its entropy do not
follow from what traces keep: both are left out, and `stopping evaluate` decodes the pool itself.

The draw decodes `V` with probability `p = 1 - weight`, else the final layer. All of it is known,
and given in expectation over the draws, so that both are compared without their noise.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np

from empirical.analysis.decisions import Contest
from empirical.analysis.validate.rows import Kind, Outcome, reach
from empirical.traces.window import Sample
from stopping.rules import AbstractRule, Search
from stopping.theory.mixtures import pool_loss
from stopping.types import FloatArray, IntArray


@runtime_checkable
class Pool(Protocol):
    """A decoder that pools the final layer with the one that a rule without draws chooses."""

    weight: float

    @property
    def chosen_by(self) -> AbstractRule:
        """The rule."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    def spec(self) -> str:
        """Its text."""


def labels_of(decoder: AbstractRule | Pool) -> list[tuple[str, str, Kind]]:
    """Name, text and kind of the rows of a rule, or of a pool and its draw.

    A draw has a text where the rule has a `p`.
    """
    if not isinstance(decoder, Pool):
        return [(decoder.name, decoder.spec(), "rule")]
    rule, p = decoder.chosen_by, round(1 - decoder.weight, 12)
    text = Search(rule.K, p=p).spec() if isinstance(rule, Search) else ""
    return [
        (decoder.name, decoder.spec(), "pool"),
        (f"{rule.name} drawn with p={p:g}", text, "draw"),
    ]


def outcomes(sample: Sample, pool: Pool, choice: IntArray) -> Iterator[tuple[Outcome, Contest]]:
    """What a pool makes of each token, then what its draw does.

    Parameters
    ----------
    choice : ndarray of int, shape (n,)
        Window columns that the pool's rule chooses.
    """
    rows, losses, weight = np.arange(len(choice)), sample.log_loss, pool.weight
    pooled = pool_loss(np.broadcast_to(losses[:, -1:], losses.shape), losses, weight)
    pooled[:, -1] = losses[:, -1]
    read = np.full(len(choice), float(reach(pool.chosen_by)))
    chosen = Outcome.of_choice(sample, choice, read)
    unknown = np.full(len(choice), np.nan)
    yield (
        Outcome(pooled[rows, choice], unknown, unknown, unknown, chosen.moved, chosen.depth, read),
        Contest.of_choice(pooled, choice),
    )
    final = Outcome.of_choice(sample, np.full_like(choice, sample.x.shape[1] - 1), read)

    def expected(name: str) -> FloatArray:
        of_final, of_chosen = getattr(final, name), getattr(chosen, name)
        mean: FloatArray = weight * of_final + (1 - weight) * of_chosen
        return mean

    fields = ("loss", "entropy", "right", "changed", "moved", "depth")
    projections = (1 - weight) * pool.chosen_by.projections(sample.x)
    yield (
        Outcome(
            **{name: expected(name) for name in fields}, projections=projections.astype(np.float64)
        ),
        Contest.of_choice(weight * losses[:, -1:] + (1 - weight) * losses, choice),
    )
