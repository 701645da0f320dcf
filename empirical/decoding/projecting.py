"""States of several layers to logits, in one product where the head is one.

Through a head that is a product (`empirical.model.unembedding`) the states of any layers are
stacked and projected together, in the plan's orientation; what comes out is
float32 whatever the model's precision, for entropies are taken from sums that were never rounded.
Any other lens is asked layer by layer.
"""

import abc
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from empirical.decoding.plan import ONE_BY_ONE, Plan
from empirical.lenses import AbstractLens
from empirical.logits.kernels.capability import available
from empirical.logits.sums import Sums
from empirical.model.unembedding import Unembedding

# Logits that are held at once beyond those of one layer, so that several layers may be projected
# together: 340 rows of a vocabulary of 49k entries on a CPU, 220 of 152k entries on a GPU.
_HELD_BYTES = {"cpu": 64 << 20, "cuda": 128 << 20}

Kernel = Callable[[Tensor, Tensor], tuple[Tensor, Sums]]
"""From weights (entries, hidden) and states (n, hidden) to logits and their sums."""
Part = tuple[int, Tensor]
"""Number of a layer and some rows' states as the layer returned them, (rows, ...)."""


class AbstractProjector(abc.ABC):
    """Turns states into logits."""

    plan: Plan
    """How many layers go together."""

    @abc.abstractmethod
    def project(self, parts: Sequence[Part]) -> tuple[Tensor, Sums | None]:
        """Logits of the rows of all parts, in their order, (rows in all, vocabulary).

        With the sums of the unrounded logits where they were taken on the way.
        """


def projector_for(lens: AbstractLens, head: Unembedding | None, plan: Plan) -> AbstractProjector:
    """Choose the way to project."""
    if head is None or type(lens).before_head is AbstractLens.before_head:
        return LensProjector(lens)
    return HeadProjector(lens, head, plan, _kernel_for(head))


@final
class LensProjector(AbstractProjector):
    """Asks the lens."""

    plan = ONE_BY_ONE

    def __init__(self, lens: AbstractLens) -> None:
        self._lens = lens

    def project(self, parts: Sequence[Part]) -> tuple[Tensor, None]:
        """One call for each part; a lens reads (batch, positions, hidden)."""
        read = [self._lens.read(layer, h[None])[0] for layer, h in parts]
        return (read[0] if len(read) == 1 else torch.cat(read)), None


@final
class HeadProjector(AbstractProjector):
    """Stacks all parts.

    `kernel`, where there is one, makes logits and sums in one go (see `empirical.logits.kernels`).
    """

    def __init__(
        self, lens: AbstractLens, head: Unembedding, plan: Plan, kernel: Kernel | None = None
    ) -> None:
        self._lens, self.head, self.plan, self._kernel = lens, head, plan, kernel

    def project(self, parts: Sequence[Part]) -> tuple[Tensor, Sums | None]:
        """One product for all parts."""
        x, scales = self.stacked(parts)
        z, sums = self.product(x)
        return self.finished(z, scales), sums if scales is None else None

    def stacked(self, parts: Sequence[Part]) -> tuple[Tensor, Tensor | None]:
        """What the head is given, (rows, hidden), and what its logits are then multiplied by."""
        before = [_before_head(self._lens, layer, h) for layer, h in parts]
        weight = self.head.linear.weight
        x = torch.cat([x for x, _ in before]).to(weight)
        if all(temperature == 1.0 for _, temperature in before):
            return x, None
        temperatures = torch.cat(
            [x.new_full((len(x), 1), t, dtype=torch.float64) for x, t in before]
        )
        return x, (1 / temperatures).to(x.device)

    def product(self, x: Tensor) -> tuple[Tensor, Sums | None]:
        """One product, in the plan's orientation; by the kernel, with its sums."""
        if self._kernel is not None:
            return self._kernel(self.head.linear.weight.detach(), x)
        return self.head.product(x, self.plan.turned(len(x))), None

    def finished(self, z: Tensor, scales: Tensor | None) -> Tensor:
        """Do to the products what the head and the lens do to them."""
        z = self.head.finished(z)
        return z if scales is None else z * scales.to(z)


def _kernel_for(head: Unembedding) -> Kernel | None:
    """Return the GPU kernel where it works: half-precision heads that are a product alone."""
    weight = head.linear.weight
    single = weight.element_size() >= 4
    if single or not head.plain or head.linear.bias is not None or not weight.is_contiguous():
        return None
    if not available(weight.device, weight.dtype):
        return None
    from empirical.logits.kernels.fused import project_rows

    return project_rows


def rows_held(entries: int, device: torch.device) -> int:
    """Rows of logits that may be held at once."""
    return _HELD_BYTES.get(device.type, _HELD_BYTES["cpu"]) // (4 * entries)


def _before_head(lens: AbstractLens, layer: int, h: Tensor) -> tuple[Tensor, float]:
    found = lens.before_head(layer, h[None])
    assert found is not None, "a lens reads all layers in one way"
    return found[0][0], found[1]
