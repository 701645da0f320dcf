r"""The search on the score that one released version of Confident Decoding computes.

It writes `(p * p.log_()).sum(-1)` for the sum in Shannon's entropy. The logarithm works in place
and is taken before the product, so both factors are `log p`, and after the change of sign the
score is

    s[l] = -sum_i (log p[l, i])^2,

which is never positive, grows with the vocabulary and is ruled by its least likely tokens; it has
nothing to do with the entropy that the paper defines. The backward search on it goes on while
`s[l-1] < s[l]`. This decoder is here so that anyone can see what that code would have chosen on
their model; it is kept apart from `search` by its name.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from empirical.decoding.rivals.base import AbstractSelection
from stopping.errors import UserError
from stopping.rules import Search
from stopping.types import IntArray


@final
@dataclass(frozen=True)
class ReleasedScore(AbstractSelection):
    """The search with `-sum (log p)^2` in the place of the entropy, at most `K` steps back."""

    K: int = 10
    kind: ClassVar[str] = "released-score"

    def __post_init__(self) -> None:
        if self.K < 0:
            raise UserError(f"released-score: K must be >= 0, got {self.K}")

    @property
    def name(self) -> str:
        """Name that cannot be taken for the search's."""
        return "released score"

    def column(self, z: Tensor) -> IntArray:
        """Where the search on the scores stops."""
        return Search(self.K).choose(scores(z).T.cpu().numpy())


def scores(z: Tensor) -> Tensor:
    """`-sum (log p)^2` of each row, in double precision; tokens excluded by -inf count nothing."""
    log_p = z.log_softmax(-1)
    squares = torch.where(log_p == -math.inf, 0.0, log_p.square())
    return -squares.sum(-1, dtype=torch.float64)
