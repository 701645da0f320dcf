r"""DoLa: the final layer's distribution divided by that of a premature layer.

With `q` the final layer's probabilities and `p[l]` those of the candidate layers, DoLa takes for
each position the *premature layer* whose distribution is farthest from the final one,

    m = argmax_l JSD(q || p[l]),

and decodes from `log q - log p[m]` over the tokens with `q >= relative_top max q`; all others get
no probability (Chuang et al. 2024, ICLR, arXiv:2309.03883, equations 3 to 5).

Two departures of the published code are settings here, or corrected:

- it swaps the arguments of both divergences, taking `(KL(M || q) + KL(M || p)) / 2` with `M` the
  mean of both distributions: `divergence=released` does the same, `divergence=js` is the paper's;
- it averages the divergences over the batch and takes one premature layer for all of it, so that
  a text depends on its neighbours; here each row has its own.

The published experiments use a repetition penalty of 1.2, which is a setting of `generate`.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from empirical.decoding.rivals.base import AbstractContrast
from empirical.decoding.rivals.buckets import bucket
from stopping.errors import UserError

_DIVERGENCES = ("js", "released")


@final
@dataclass(frozen=True)
class DoLa(AbstractContrast):
    """DoLa for each row.

    `layers` is the bucket of candidate layers: "low" (the paper's choice for long answers),
    "high" (for short ones) or "all".
    """

    layers: str = "low"
    relative_top: float = 0.1
    divergence: str = "js"
    norm: bool = True
    kind: ClassVar[str] = "dola"

    def __post_init__(self) -> None:
        bucket(self.layers, 8, tied=False)
        if not 0 < self.relative_top <= 1:
            raise UserError(f"dola: relative_top must be in (0, 1], got {self.relative_top}")
        if self.divergence not in _DIVERGENCES:
            raise UserError(
                f"dola: divergence={self.divergence} is unknown; choose from "
                f"{', '.join(_DIVERGENCES)}"
            )

    @property
    def name(self) -> str:
        """Name with what differs from the paper."""
        return " ".join(
            ["DoLa", self.layers]
            + ["released divergence"] * (self.divergence == "released")
            + ["no norm"] * (not self.norm)
        )

    def window(self, depth: int, tied: bool) -> tuple[int, ...]:
        """Candidates and the final layer."""
        return (*bucket(self.layers, depth, tied), depth)

    def logits(self, z: Tensor) -> Tensor:
        """`log q - log p[m]` on the plausible tokens, minus infinity elsewhere."""
        log_q, log_p = z[-1].log_softmax(-1), z[:-1].log_softmax(-1)
        premature = self.divergences(log_q, log_p).argmax(dim=0)
        rows = torch.arange(z.shape[1], device=z.device)
        plausible = log_q >= log_q.amax(-1, keepdim=True) + math.log(self.relative_top)
        return (log_q - log_p[premature, rows]).masked_fill(~plausible, -math.inf)

    def divergences(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        """Divergence of each candidate layer from the final one, shape (w - 1, n), nats."""
        log_m = torch.logaddexp(log_q, log_p) - math.log(2)
        if self.divergence == "js":
            return (_kl(log_q.expand_as(log_p), log_m) + _kl(log_p, log_m)) / 2
        return (_kl(log_m, log_q.expand_as(log_p)) + _kl(log_m, log_p)) / 2


def _kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    """`KL(a || b)` over the last axis; a token that `a` excludes counts nothing."""
    terms = log_a.exp() * (log_a - log_b)
    return torch.where(log_a == -math.inf, 0.0, terms).sum(-1)
