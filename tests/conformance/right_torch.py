"""A right implementation as vectorised torch, without a loop."""

import torch
from torch import Tensor

from stopping.testing import Head

K = 4


def select(entropies: Tensor) -> Tensor:
    layers = entropies.shape[1]
    window = entropies[:, max(0, layers - 1 - K) :].flip(-1)
    going = (window[:, 1:] < window[:, :-1]).long().cumprod(-1)
    depth = going.sum(-1)
    read = torch.arange(window.shape[1], device=window.device) <= depth[:, None] + 1
    depth = depth.where(~(window.isnan() & read).any(-1), torch.zeros_like(depth))
    return layers - 1 - depth


def select_by_depth(entropies: Tensor) -> Tensor:
    """Layers on axis 0, the final one first; gives back steps."""
    return len(entropies) - 1 - select(entropies.flip(0).T)


def entropy(logits: Tensor) -> Tensor:
    log_p = logits.float().log_softmax(-1)
    return -(log_p.exp() * log_p.clamp(min=-1e4)).sum(-1)


def decode(states: Tensor, head: Head) -> Tensor:
    logits = head(states)
    chosen = select(entropy(logits))
    return logits[torch.arange(len(logits)), chosen]


class Random:
    """The search with probability `p`, drawn for each token."""

    def __init__(self, p: float) -> None:
        self.p, self.generator = p, torch.Generator().manual_seed(5)

    def __call__(self, entropies: Tensor) -> Tensor:
        uniform = torch.rand(len(entropies), generator=self.generator)
        final = torch.full((len(entropies),), entropies.shape[1] - 1)
        return torch.where(uniform < self.p, select(entropies), final)
