r"""SLED: the final layer's logits moved against what earlier layers say of its likeliest tokens.

With `z` the final logits, `z[l]` and `p[l]` logits and probabilities of an earlier layer, SLED
takes the change `d[l] = z[l] - z` for an estimate of the gradient of the unknown loss. For each
of the `k` likeliest tokens `i` of the final layer, the gradient of the loss of the token at layer
`l` is `p[l] - e_i`; how well both agree says how much layer `l` speaks for `i`:

    c[l, i] = max(0, cos(p[l] - e_i, d[l]))^2,   s[l] = sum_i c[l, i],
    P(i) = sum_l (s[l] / sum s) (c[l, i] / s[l]),

the *latent* distribution. Then gradient descent on the final logits, with a rate that falls
linearly,

    z <- z - rate (1 - t / steps) (softmax(z) - P),   t = 0 .. steps - 1,

and all tokens but those `k` get the logit `floor` (Zhang et al. 2024, NeurIPS, arXiv:2411.02433,
section 3; the details, ten steps among them, are those of its released code). The formula of the
latent distribution keeps the `k` tokens' weights only, so no array (layers, rows, k, vocabulary) is
needed: the cosine is `(p . d - d_i) / (|p - e_i| |d|)`.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from empirical.decoding.rivals.base import AbstractContrast
from empirical.decoding.rivals.buckets import bucket
from stopping.errors import UserError

_TINY = 1e-30


@final
@dataclass(frozen=True)
class SLED(AbstractContrast):
    """Self-logits evolution.

    `rate` is the first step's rate, `scale` the number of tokens that keep their logits, `floor`
    the logit of all others, `layers` the bucket of earlier layers.
    """

    rate: float = 2.0
    scale: int = 10
    steps: int = 10
    floor: float = -2500.0
    layers: str = "all"
    norm: bool = True
    kind: ClassVar[str] = "sled"

    def __post_init__(self) -> None:
        bucket(self.layers, 8, tied=False)
        if self.scale < 1 or self.steps < 1:
            raise UserError(
                f"sled: scale and steps must be at least 1, got {self.scale} and {self.steps}"
            )
        if not (math.isfinite(self.rate) and self.rate > 0 and math.isfinite(self.floor)):
            raise UserError(
                f"sled: rate must be positive and floor finite, got {self.rate} and {self.floor}"
            )

    @property
    def name(self) -> str:
        """Name with what differs from the paper."""
        return " ".join(
            ["SLED"]
            + [f"rate {self.rate:g}"] * (self.rate != 2.0)
            + [f"top {self.scale}"] * (self.scale != 10)
            + ["no norm"] * (not self.norm)
        )

    def window(self, depth: int, tied: bool) -> tuple[int, ...]:
        """Return the earlier layers and the final one."""
        return (*bucket(self.layers, depth, tied), depth)

    def logits(self, z: Tensor) -> Tensor:
        """Final logits after the descent on the likeliest tokens, `floor` elsewhere."""
        likeliest = z[-1].topk(min(self.scale, z.shape[-1]), dim=-1).indices
        latent = torch.zeros_like(z[-1]).scatter_(-1, likeliest, latent_weights(z, likeliest))
        evolved = z[-1].clone()
        for step in range(self.steps):
            rate = self.rate * (1 - step / self.steps)
            evolved -= rate * (evolved.softmax(-1) - latent)
        rest = torch.full_like(evolved, self.floor)
        return rest.scatter_(-1, likeliest, evolved.gather(-1, likeliest))


def latent_weights(z: Tensor, tokens: Tensor) -> Tensor:
    """Weights `P(i)` of `tokens`, shape (n, k), from logits `z` (w, n, vocabulary)."""
    p = z[:-1].softmax(-1)
    # A token that the model excludes at every layer has not changed.
    d = torch.where(z[-1].isneginf(), 0.0, z[:-1] - z[-1])
    index = tokens.expand(len(p), *tokens.shape)
    p_i, d_i = p.gather(-1, index), d.gather(-1, index)
    inner = (p * d).sum(-1, keepdim=True) - d_i
    lengths = (p.square().sum(-1, keepdim=True) - 2 * p_i + 1).clamp_min(0).sqrt()
    cosine = inner / (lengths * d.norm(dim=-1, keepdim=True)).clamp_min(_TINY)
    c = cosine.clamp_min(0).square()
    s = c.sum(-1, keepdim=True)
    weights: Tensor = (c / s.clamp_min(_TINY) * (s / s.sum(0, keepdim=True).clamp_min(_TINY))).sum(
        0
    )
    return weights
