"""What pools are made of: the inputs that the last layers would give the head, and what they say.

The head is a product, `z = W x + b`, so that a weighted sum of the layers' inputs `x[l]` gives the
weighted sum of their logits, and with it the log-linear pool, at the price of one layer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from empirical.lenses.states import States, spans
from empirical.lenses.temperature import best_temperature
from empirical.logits.readout import read_logits
from empirical.model.anatomy import Anatomy
from empirical.model.unembedding import Unembedding
from stopping.errors import UserError
from stopping.types import BoolArray, FloatArray

_SCOUTS = 600
"""Tokens that set a layer's temperature: one number, from what is a pass over the vocabulary."""


@dataclass(frozen=True, eq=False)
class Head:
    """Unembedding `W` (entries, hidden) and, where there is one, its bias (entries,)."""

    weight: Tensor
    bias: Tensor | None = None

    @classmethod
    def of(cls, anatomy: Anatomy) -> "Head":
        """Take the head of a model.

        Raises
        ------
        UserError
            If it is more than a product.
        """
        found = Unembedding.of(anatomy)
        if found is None or not found.plain:
            raise UserError(
                f"pools: the head of {type(anatomy.headless).__name__} is more than a product with "
                "its unembedding, and pools of logits are not made before it; ask another model"
            )
        bias = found.linear.bias
        return cls(found.linear.weight.detach(), None if bias is None else bias.detach())

    def logits(self, x: Tensor) -> Tensor:
        """Logits of inputs (n, hidden), in float32 at least."""
        return torch.nn.functional.linear(x.to(self.weight.dtype), self.weight, self.bias).float()

    def loss(self, x: Tensor, token: Tensor) -> Tensor:
        """Log-loss of each token, nats, (n,)."""
        return torch.nn.functional.cross_entropy(self.logits(x), token, reduction="none")


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens and the head's inputs behind them.

    Attributes
    ----------
    prompt : (n,) int32
    token : (n,) int64
    x : (n, layers, hidden)
        Normed states of the last layers, the final one last.
    """

    prompt: NDArray[np.int32]
    token: Tensor
    x: Tensor

    @classmethod
    def of(cls, anatomy: Anatomy, states: States) -> "Tokens":
        """Norm the states of all layers that were kept."""
        with torch.no_grad():
            normed = [anatomy.normed(h[None])[0] for _, h in sorted(states.layers.items())]
        return cls(states.prompt, states.token, torch.stack(normed, dim=1).float())

    def __len__(self) -> int:
        return len(self.token)

    def rows(self, keep: slice | Tensor) -> "Tokens":
        """The tokens `keep`."""
        indices = np.arange(len(self))[keep.cpu().numpy() if isinstance(keep, Tensor) else keep]
        return Tokens(self.prompt[indices], self.token[keep], self.x[keep])


@dataclass(frozen=True, eq=False)
class Said:
    """What each layer says of each token at its temperature, each (n, layers).

    Attributes
    ----------
    log_prob, entropy : ndarray
        Nats.
    right : ndarray of bool
        Whether the most probable token is the reference.
    """

    log_prob: FloatArray
    entropy: FloatArray
    right: BoolArray


def temperatures(head: Head, tokens: Tokens, seed: int) -> Tensor:
    """Temperature of each layer with the least log-loss, (layers,), on a sample of the tokens."""
    generator = torch.Generator().manual_seed(seed)
    some = tokens.rows(torch.randperm(len(tokens), generator=generator)[:_SCOUTS])

    def chunks(layer: int) -> Iterator[tuple[Tensor, Tensor]]:
        for start, stop in spans(len(some), len(head.weight)):
            z = head.logits(some.x[start:stop, layer])
            yield z, z.gather(1, some.token[start:stop, None])[:, 0]

    with torch.no_grad():
        layers = range(tokens.x.shape[1])
        return torch.tensor([best_temperature(partial(chunks, layer)) for layer in layers])


def listen(head: Head, tokens: Tokens, temperature: Tensor) -> Said:
    """Read all layers at their temperatures."""
    parts = []
    with torch.no_grad():
        for start, stop in spans(len(tokens), len(head.weight)):
            token, x = tokens.token[start:stop], tokens.x[start:stop]
            columns = []
            for layer, t in enumerate(temperature.tolist()):
                read = read_logits(head.logits(x[:, layer]) / t, token)
                right = (read.top1 == token).to(read.entropy)
                columns.append(torch.stack([read.log_prob, read.entropy, right]))
            parts.append(torch.stack(columns, dim=2))
    joined = torch.cat(parts, dim=1)
    log_prob, entropy, right = joined.double().cpu().numpy()
    return Said(log_prob, entropy, right > 0.5)
