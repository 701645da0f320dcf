"""A decode step with random weights at a model's real size, all shapes fixed, for CUDA graphs.

What a step reads and computes is that of the model: each layer has weights of its own, a cache of
`context` tokens is attended to, and a mixture of experts reads as many experts as its tokens would
touch at random, with the tokens spread evenly over them. What the numbers mean does not matter.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Size:
    """Sizes of a model; `experts` 0 means a dense one with an inner width of `inner`."""

    name: str
    layers: int
    hidden: int
    heads: int
    groups: int
    width: int
    inner: int
    vocabulary: int
    experts: int = 0
    chosen: int = 0

    def touched(self, batch: int) -> int:
        """Experts that a batch meets, rounded."""
        return round(self.experts * (1 - (1 - self.chosen / self.experts) ** batch))


SIZES = (
    Size("30b-a3b", 48, 2048, 32, 4, 128, 768, 151_936, 128, 8),
    Size("8b", 36, 4096, 32, 8, 128, 12_288, 151_936),
    Size("32b", 64, 5120, 64, 8, 128, 25_600, 151_936),
)
TINY = (
    Size("tiny", 4, 32, 4, 2, 8, 48, 130),
    Size("tiny-moe", 4, 32, 4, 2, 8, 16, 130, 8, 2),
)


@dataclass(frozen=True, eq=False)
class Layer:
    """Weights of one layer."""

    attention: Tensor
    out: Tensor
    up: Tensor
    down: Tensor


class Engine:
    """One model's weights, and steps of any batch over them."""

    def __init__(self, size: Size, device: torch.device, dtype: torch.dtype) -> None:
        self.size, self.device, self.dtype = size, device, dtype
        qkv = (size.heads + 2 * size.groups) * size.width
        shared = max(1, size.experts)
        self.layers = [
            Layer(
                self._random(qkv, size.hidden),
                self._random(size.hidden, size.heads * size.width),
                self._random(shared, size.hidden, 2 * size.inner),
                self._random(shared, size.inner, size.hidden),
            )
            for _ in range(size.layers)
        ]
        self.head = self._random(size.vocabulary, size.hidden)

    def _random(self, *shape: int) -> Tensor:
        # So that states keep their size, and logits spread over a few units.
        weight = torch.empty(*shape, device=self.device, dtype=self.dtype)
        return weight.normal_(std=2 * max(shape[-1], shape[-2]) ** -0.5)

    def body(self, batch: int, context: int, window: int) -> Callable[[], Tensor]:
        """A step up to the head: returns the normed states of the last layers, `L` first.

        Shape (window, batch, hidden), in memory that the next step overwrites.
        """
        size = self.size
        x0 = torch.randn(batch, size.hidden, device=self.device).to(self.dtype)
        cache = torch.randn(
            2, size.layers, batch, size.groups, context, size.width, device=self.device
        ).to(self.dtype)
        states = torch.empty(window, batch, size.hidden, device=self.device, dtype=self.dtype)

        def step() -> Tensor:
            x = x0
            for number, layer in enumerate(self.layers):
                x = x + self._attend(layer, _normed(x), cache[:, number])
                x = x + self._feed(layer, _normed(x), batch)
                back = size.layers - 1 - number
                if back < window:
                    states[back] = _normed(x)
            return states

        return step

    def _attend(self, layer: Layer, x: Tensor, cache: Tensor) -> Tensor:
        size = self.size
        split = size.heads * size.width, size.groups * size.width, size.groups * size.width
        q, k, v = F.linear(x, layer.attention).split(split, dim=1)
        keys, values = cache
        keys[:, :, -1] = k.view(-1, size.groups, size.width)
        values[:, :, -1] = v.view(-1, size.groups, size.width)
        query = q.view(len(x), size.heads, 1, size.width)
        seen = F.scaled_dot_product_attention(query, keys, values, enable_gqa=True)
        return F.linear(seen.flatten(1), layer.out)

    def _feed(self, layer: Layer, x: Tensor, batch: int) -> Tensor:
        size = self.size
        if not size.experts:
            gate, up = (x @ layer.up[0]).chunk(2, dim=1)
            return (F.silu(gate) * up) @ layer.down[0]
        # Each touched expert gets its share of the tokens; which ones does not change the time.
        touched = size.touched(batch)
        each = -(-batch * size.chosen // touched)
        rows = (torch.arange(touched * each, device=x.device) % batch).view(touched, each)
        gate, up = torch.bmm(x[rows], layer.up[:touched]).chunk(2, dim=2)
        out = torch.bmm(F.silu(gate) * up, layer.down[:touched])
        summed = torch.zeros_like(x)
        return summed.index_add_(0, rows.flatten(), out.flatten(0, 1))


def _normed(x: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],))
