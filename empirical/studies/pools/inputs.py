r"""What is trained through the head: each predictor is another input for it.

    own temperature from its entropy    x = (a + c phi_L) x_L
    log-linear pool                     x = sum_l a_l x_l,             a_l global or from phi
    low-rank correction                 x = a x_L + ( u A B + b ) s_L,  u = x / s

with `phi` the standardised entropies of the layers and `s` each dimension's root mean square. The
correction sees the final layer alone, or all of them: both have one rank, start at the final layer
at its own temperature, and are trained and stopped alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from empirical.lenses.states import spans
from empirical.lenses.training import Tell, Weights, descend
from empirical.studies.pools.data import Head, Tokens

_RATES = {"pool": 5e-3, "correction": 1e-3}


@dataclass(frozen=True, eq=False)
class Seen:
    """Tokens with the features of their entropies, (n, layers) float32."""

    tokens: Tokens
    features: Tensor

    def rows(self, keep: slice | Tensor) -> "Seen":
        """The tokens `keep`."""
        return Seen(self.tokens.rows(keep), self.features[keep])


Make = Callable[[Weights, Seen], Tensor]
"""From weights and tokens to inputs of the head, (n, hidden)."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """A way to make the head's input, and its weights."""

    make: Make
    weights: Weights
    rate: float

    def loss(self, head: Head, seen: Seen) -> Tensor:
        """Log-loss of each token, nats, (n,)."""
        return self.over(head, seen, head.loss)

    def top1(self, head: Head, seen: Seen) -> Tensor:
        """Most probable token, (n,)."""
        return self.over(head, seen, lambda x, token: head.logits(x).argmax(dim=1))

    def over(self, head: Head, seen: Seen, what: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Do something to the inputs of a few tokens at a time."""
        with torch.no_grad():
            parts = [
                what(self.make(self.weights, part), part.tokens.token)
                for start, stop in spans(len(seen.tokens), len(head.weight))
                for part in [seen.rows(slice(start, stop))]
            ]
        return torch.cat(parts)


def pool_of(start: Tensor, features: int, first: int = 0) -> Predictor:
    """Log-linear pool of the layers from column `first` on.

    Parameters
    ----------
    start : (layers,)
        Weights to begin with.
    features : int
        How many of the last entropies its weights depend on; 0 for global weights.
    """

    def make(weights: Weights, seen: Seen) -> Tensor:
        scale, *slope = weights
        x = seen.tokens.x[:, first:]
        a = scale.expand(len(x), -1)
        if slope:
            a = a + seen.features[:, -features:] @ slope[0].T
        return torch.einsum("nl,nld->nd", a, x)

    scale = start[first:]
    slope = [torch.zeros(len(scale), features)] if features else []
    return Predictor(make, (scale, *slope), _RATES["pool"])


def correction_of(
    train: Tokens, temperature: float, rank: int, first: int, generator: torch.Generator
) -> Predictor:
    """Low-rank correction of the final layer's input from those of the layers from `first` on."""
    size = train.x.square().mean(dim=0).sqrt()
    size = size.clamp(min=1e-6 * float(size.max()))
    last = size[-1]

    def make(weights: Weights, seen: Seen) -> Tensor:
        scale, inner, outer, bias = weights
        x = seen.tokens.x
        u = (x[:, first:] / size[first:]).flatten(1)
        return scale * x[:, -1] + (u @ inner @ outer + bias) * last

    width = size[first:].numel()
    # One factor is random, or the gradients of both would stay zero.
    inner = torch.randn(width, rank, generator=generator) / width**0.5
    zeros = torch.zeros(rank, len(last)), torch.zeros(len(last))
    start = (torch.tensor(1 / temperature), inner, *zeros)
    return Predictor(make, start, _RATES["correction"])


def train(
    head: Head,
    start: Predictor,
    training: Seen,
    validation: Seen,
    epochs: int,
    generator: torch.Generator,
    tell: Tell = lambda text: None,
) -> Predictor:
    """Minimise the log-loss of the training tokens; the best epoch on the validation ones stays."""

    def loss(weights: Weights, rows: Tensor) -> Tensor:
        some = training.rows(rows)
        return head.loss(start.make(weights, some), some.tokens.token).mean()

    def judge(weights: Weights) -> float:
        judged = Predictor(start.make, weights, start.rate)
        return float(judged.loss(head, validation).mean())

    found = descend(
        start.weights,
        judge(start.weights),
        loss,
        judge,
        len(training.tokens),
        epochs,
        generator,
        start.rate,
        tell,
    )
    return Predictor(start.make, found.best, start.rate)
