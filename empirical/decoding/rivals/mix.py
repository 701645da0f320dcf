"""M1 as a decoder: the final layer and the layer that a rule chooses, pooled.

The paper's `p` decodes one of both by a draw. This decodes `weight p_L + (1 - weight) p_V`: no
token loses more than `log(1 / weight)` nats against plain decoding, nor more than the draw with the
same weights loses on average (`stopping.theory.mixtures`). `stopping certify` says which weight can
be signed for. The logits that it leaves are the pool's log-probabilities, so that sampling and
log-likelihoods are the pool's, too.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from empirical.decoding.choosing import window_of
from empirical.decoding.rivals.base import AbstractRival
from empirical.logits.readout import read_logits
from stopping.errors import UserError
from stopping.rules import AbstractRule, parse_rule
from stopping.theory.mixtures import require_weight
from stopping.types import IntArray


@final
@dataclass(frozen=True)
class Mix(AbstractRival):
    """Linear pool of the final layer and a rule's.

    Attributes
    ----------
    rule : str
        Text of a deterministic rule, with `&` between its settings: `guarded:guard=0.1&K=4`.
    weight : float
        The final layer's share.
    K : int
        Window of the rule, where its text states none.
    """

    rule: str = "search"
    weight: float = 0.9
    K: int = 10
    kind: ClassVar[str] = "mix"

    def __post_init__(self) -> None:
        require_weight(self.weight)
        if self.chosen_by.remembers:
            raise UserError(
                f"mix: {self.chosen_by.kind} remembers tokens; mix a rule without memory"
            )
        try:
            self.chosen_by.choose(np.zeros((1, 2 + self.K)))
        except UserError as error:
            raise UserError(f"mix: needs a deterministic rule ({error})") from None

    @property
    def chosen_by(self) -> AbstractRule:
        """The rule that chooses the other layer."""
        return parse_rule(self.rule.replace("&", ","), self.K)

    @property
    def name(self) -> str:
        """Name with the weight."""
        return f"{self.weight:g} final + {1 - self.weight:.3g} {self.chosen_by.name}"

    def window(self, depth: int, tied: bool) -> tuple[int, ...]:
        """Return the layers of the rule."""
        return window_of(self.chosen_by, depth)

    def decide(self, z: Tensor) -> tuple[Tensor, IntArray | None]:
        """Return the pool's log-probabilities, and the column of the layer that is mixed in."""
        nothing = torch.zeros(z.shape[1], dtype=torch.long, device=z.device)
        # The entropies that a rule alone would see, so that it chooses the same layer.
        x = np.stack([read_logits(layer, nothing).entropy.cpu().numpy() for layer in z], axis=1)
        column = self.chosen_by.choose(x.astype(np.float64))
        final = z[-1].log_softmax(-1)
        if self.weight == 1:
            return final, column
        rows = torch.arange(z.shape[1], device=z.device)
        chosen = z[torch.from_numpy(column).to(z.device), rows].log_softmax(-1)
        pool = torch.logaddexp(final + math.log(self.weight), chosen + math.log1p(-self.weight))
        return pool, column
