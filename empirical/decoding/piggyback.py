"""The first candidates are piggybacked on the model's own product: one stream of the unembedding
for all.

The model projects its last state anyway. While a decoding is attached, the forward of its
unembedding (`nn.Linear`) is replaced, on that one object, by one that stacks under the model's
rows the states of the layers below, as many as cost nothing, makes one product of all and returns
the model's own rows; the others wait for the chooser.

With half-precision weights there is a second reason to stand there: the final layer's entropy, too,
is taken from the sums before they are rounded to the model's precision (as the model's own product
rounds them), or it would be compared with others on unequal terms.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from empirical.decoding.block_state import Prefetched
from empirical.decoding.positions import Inputs
from empirical.decoding.projecting import HeadProjector, rows_held
from empirical.logits.sums import Sums, joined, sums_of

_FEW_BYTES = 1 << 20


@dataclass(eq=False)
class Pass:
    """A forward pass that is under way in one thread.

    Attributes
    ----------
    states : residual states of the window's layers by number, (rows, kept, ...).
    rate : share of rows that go on after a layer, as far as it is known.
    ahead : what is known of the (rows * kept) places when the model's logits are there.
    """

    inputs: Inputs
    states: dict[int, Tensor] = field(default_factory=dict)
    rate: float = 0.5
    ahead: Prefetched | None = None


class Current(Protocol):
    """Asks for the pass that is under way in this thread."""

    def __call__(self) -> Pass | None:
        """None outside of a pass."""


@contextmanager
def piggybacked(
    projector: HeadProjector, layers: tuple[int, ...], current: Current
) -> Iterator[None]:
    """Piggyback candidates of the window `layers` on every forward pass in this context."""
    linear = projector.head.linear
    original = linear.forward

    @torch.compiler.disable  # type: ignore[untyped-decorator, unused-ignore]
    def forward(x: Tensor) -> Tensor:
        under_way = current()
        if under_way is None or under_way.ahead is not None or torch.is_grad_enabled():
            return original(x)
        flat = x.flatten(0, -2)
        chosen = _riders(projector, layers[:-1], under_way, len(flat))
        if chosen:
            z, under_way.ahead = _together(projector, flat, chosen, under_way)
        elif _rounds(x):
            z, under_way.ahead = _alone(projector, flat)
        else:
            return original(x)
        return z.to(x.dtype).view(*x.shape[:-1], -1)

    linear.__dict__["forward"] = forward
    try:
        yield
    finally:
        del linear.__dict__["forward"]


def _riders(
    projector: HeadProjector, candidates: tuple[int, ...], under_way: Pass, rows: int
) -> list[int]:
    """Layers that are piggybacked on a product of `rows` rows, from above."""
    linear = projector.head.linear
    most = rows_held(linear.out_features, linear.weight.device)
    width = projector.plan.width(rows, 1 + len(candidates), under_way.rate, most, sure=2) - 1
    chosen = candidates[len(candidates) - width :][::-1]
    for layer in chosen:
        h = under_way.states.get(layer)
        if h is None or h.shape[0] * h.shape[1] != rows:
            return []
    return list(chosen)


def _together(
    projector: HeadProjector, x: Tensor, chosen: list[int], under_way: Pass
) -> tuple[Tensor, Prefetched]:
    """Project the model's rows `x` (n, hidden) and those of the chosen layers."""
    n = len(x)
    parts = [(layer, under_way.states[layer].flatten(0, 1)) for layer in chosen]
    piggybacked, scales = projector.stacked(parts)
    z, sums = projector.product(torch.cat([x, piggybacked]))
    own, known = None, None
    if sums is not None:
        own = sums.rows(slice(n))
        known = sums.rows(slice(n, None)) if scales is None else None
    elif _rounds(x):
        own = _sums(projector, z[:n])
    return z[:n], Prefetched(own, tuple(chosen), projector.finished(z[n:], scales), known)


def _alone(projector: HeadProjector, x: Tensor) -> tuple[Tensor, Prefetched]:
    """Project the model's rows block by block; the sums are taken before rounding."""
    rounded, sums = [], []
    for block in torch.split(x, max(1, rows_held(projector.head.entries, x.device))):
        z, seen = projector.product(block)
        sums.append(_sums(projector, z) if seen is None else seen)
        rounded.append(z.to(x.dtype))
    return torch.cat(rounded), Prefetched(joined(sums))


def _sums(projector: HeadProjector, z: Tensor) -> Sums:
    """Sums of each row of products, a few rows at a time."""
    few = max(1, _FEW_BYTES // (4 * z.shape[1]))
    return joined([sums_of(projector.finished(rows, None)) for rows in torch.split(z, few)])


def _rounds(x: Tensor) -> bool:
    return x.element_size() < 4
