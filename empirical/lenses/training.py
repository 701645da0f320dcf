"""Adam with early stopping: a descent that is never worse than its start on the held-out tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Tell = Callable[[str], None]
Weights = Sequence[Tensor]

_BATCH = 64
_PATIENCE = 2


@dataclass(frozen=True, eq=False)
class Descent(Generic[T]):
    """What the best epoch made, and the validation losses from the start to the last epoch."""

    best: T
    losses: tuple[float, ...]

    @property
    def epoch(self) -> int:
        """Epoch that made it; 0 is the start."""
        return self.losses.index(min(self.losses))


def descend(
    start: Weights,
    start_loss: float,
    loss: Callable[[Weights, Tensor], Tensor],
    judge: Callable[[Weights], float],
    rows: int,
    epochs: int,
    generator: torch.Generator,
    rate: float = 1e-3,
    tell: Tell = lambda text: None,
) -> Descent[Weights]:
    """Improve weights as long as the validation loss falls.

    Parameters
    ----------
    start_loss
        What `judge` says of the start.
    loss
        Mean loss of some training rows, differentiable in the weights.
    judge
        Mean loss on the validation tokens.
    rows, epochs
        Number of training rows, and most passes over them.
    """
    weights = [weight.clone().requires_grad_() for weight in start]
    optimiser = torch.optim.Adam(weights, lr=rate)
    best, losses, failures = list(start), [start_loss], 0
    for epoch in range(1, epochs + 1):
        order = torch.randperm(rows, generator=generator)
        for first in range(0, rows, _BATCH):
            batch = order[first : first + _BATCH]
            # Gradients of these weights alone: the model's own are never computed.
            gradients = torch.autograd.grad(loss(weights, batch), weights)
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
            optimiser.step()
        candidate = [weight.detach().clone() for weight in weights]
        losses.append(judge(candidate))
        tell(f"epoch {epoch}, {losses[-1]:.3f} nats")
        if losses[-1] < min(losses[:-1]):
            best, failures = candidate, 0
            continue
        failures += 1
        if failures > _PATIENCE:
            break
        for group in optimiser.param_groups:
            group["lr"] /= 2
    return Descent(best, tuple(losses))
