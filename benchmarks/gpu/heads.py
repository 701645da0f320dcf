"""What comes after the body, in every design: states in, the next token and its logits out.

All are safe for CUDA graphs: fixed shapes, no look from the host. Entropies are those of the
definition everywhere; the released code's way keeps its passes, not its formula.
"""

import os
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Design = Callable[[Tensor], Tensor]
"""From states (window, batch, hidden), `L` first, to logits (batch, vocabulary) or entries."""


def plain(weight: Tensor) -> Design:
    """The final layer, greedily."""

    def run(states: Tensor) -> Tensor:
        return F.linear(states[0], weight).argmax(dim=1)

    return run


def _scan(x: Tensor, tau: float) -> Tensor:
    """Steps back, (batch,), from entropies (window, batch)."""
    falls = x[1:] < x[:-1] - tau
    return falls.long().cumprod(dim=0).sum(dim=0)


def all_at_once(weight: Tensor, tau: float) -> Design:
    """One product, entropies in float32 from its rounded logits, one gather."""

    def run(states: Tensor) -> Tensor:
        z = F.linear(states.flatten(0, 1), weight).view(*states.shape[:2], -1)
        below = z.float() - z.amax(dim=2, keepdim=True)
        e = below.exp()
        s = e.sum(dim=2)
        depth = _scan(s.log() - (e * below).sum(dim=2) / s, tau)
        return z[depth, torch.arange(z.shape[1], device=z.device)].argmax(dim=1)

    return run


def released_way(weight: Tensor, tau: float) -> Design:
    """Softmax, logarithm and sums as passes of their own, a scan step by step, logits rebuilt."""

    def run(states: Tensor) -> Tensor:
        z = F.linear(states.flatten(0, 1), weight).view(*states.shape[:2], -1)
        p = z.softmax(dim=2)
        log_p = (p + 1e-30).log()
        x = -(p * log_p).sum(dim=2)
        depth = torch.zeros_like(x[0], dtype=torch.long)
        alive = torch.ones_like(depth, dtype=torch.bool)
        for step in range(1, len(x)):
            alive = alive & (x[step] < x[step - 1] - tau)
            depth = torch.where(alive, step, depth)
        rows = torch.arange(z.shape[1], device=z.device)
        rebuilt = log_p[depth, rows] + z[depth, rows].logsumexp(dim=1, keepdim=True)
        return rebuilt.argmax(dim=1)

    return run


def kernel(weight: Tensor, tau: float, shape: tuple[int, int], first: int, store: bool) -> Design:
    """The fused kernel; `first` candidates for all rows."""
    from benchmarks.gpu.head_kernel import HeadKernel

    window, batch = shape
    fused = HeadKernel(weight, batch=batch, window=window, first=first, tau=tau, store=store)

    def run(states: Tensor) -> Tensor:
        return fused.step(states).token

    return run


def designs(weight: Tensor, tau: float, shape: tuple[int, int], free: int) -> Mapping[str, Design]:
    """All of them; `free` rows cost nothing (bandwidth is the limit): `first` candidates of all."""
    window, batch = shape
    first = max(2, min(window, free // batch))
    found: dict[str, Design] = {
        "plain": plain(weight),
        "released way": released_way(weight, tau),
        "all at once": all_at_once(weight, tau),
    }
    if kernels_run(weight.device):
        found["fused, stored"] = kernel(weight, tau, shape, window, True)
        found["fused, sampled"] = kernel(weight, tau, shape, window, False)
        if first < window:
            found["piggybacked"] = kernel(weight, tau, shape, first, True)
    return found


def kernels_run(device: torch.device) -> bool:
    """On a GPU, and on a CPU in Triton's interpreter."""
    if device.type == "cuda":
        return True
    return os.environ.get("TRITON_INTERPRET") == "1"
