"""The head as a product with the unembedding, so that it can be taken piece by piece.

Most heads are one matrix product, `z = W x + b`, and then something done to each logit alone
(a soft-cap, a scale, nothing). Such a head can be computed for some entries only, or for the states
of several layers at once, without the model's own call. Whether a head is one is not looked up in
a table but found out and *verified*: the head is run on a few states; the `nn.Linear` that was
given them is the product; with an identity in the product's place the model's own code does the
rest, on whatever logits it is given. If tiles of the vocabulary, put together, then give what the
whole head gives, they will do so elsewhere; if not (a transform before the product, masked or
sliced entries, quantised or adapted weights), there is no `Unembedding` and the model's own call is
used.

The product is accumulated in single precision at least: what half-precision logits lose by
rounding, 1e-2 nats of entropy, changes one choice of a layer in thirty.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from empirical.model.anatomy import Anatomy
from empirical.model.headless import with_module

_PROBE_ROWS = 3
# States of common size, and so large that soft-caps bend.
_PROBE_SIZES = (1.0, 30.0)
# Words of a half-precision unembedding that are converted at a time on a CPU.
_CONVERTED = 4096
# Rounding that is allowed, in units of what is expected of it (see `Unembedding._rounding`).
_ROUNDINGS = 4


@dataclass(frozen=True, eq=False)
class Unembedding:
    """A head that is a product with `W` (vocabulary, hidden) and works on each logit alone.

    Attributes
    ----------
    linear : the model's own module; its weights are read whenever they are needed.
    after : the headless copy with an identity in the place of `linear`.
    plain : whether nothing is done after the product.
    """

    linear: nn.Linear
    after: nn.Module
    plain: bool

    @classmethod
    def of(cls, anatomy: Anatomy) -> "Unembedding | None":
        """Find and verify the product in a model's head; None if the head is not like that."""
        linears = {
            path: module
            for path, module in anatomy.headless.named_modules()
            if type(module) is nn.Linear and module.out_features == anatomy.vocabulary_size
        }
        for path, linear in linears.items():
            weight = linear.weight
            moved = weight.is_meta or "forward" in linear.__dict__ or linear._forward_hooks
            if not moved and not linear._forward_pre_hooks and weight.is_floating_point():
                after = with_module(anatomy.headless, path, nn.Identity())
                for plain in (True, False):
                    found = cls(linear, after, plain)
                    if found._verified(anatomy):
                        return found
        return None

    @property
    def entries(self) -> int:
        """Size of the vocabulary."""
        return self.linear.out_features

    @property
    def hidden(self) -> int:
        """Size of a state."""
        return self.linear.in_features

    def logits(self, x: Tensor, entries: slice = slice(None), out: Tensor | None = None) -> Tensor:
        """Logits of some entries.

        Parameters
        ----------
        x : (hidden, n)
            States as the decoder hands them to the head, one per column.
        entries : slice
            Consecutive entries; default all.
        out : (entries, n), optional
            Where the product is put if its precision is that of the weights.

        Returns
        -------
        (entries, n), float32 or float64
        """
        weight, bias = self._parameters()
        z = _product(weight[entries], x, out)
        if bias is not None:
            z += bias[entries, None]
        return z if self.plain else self.finished(z.T).T

    def product(self, x: Tensor, across: bool) -> Tensor:
        """Logits before the rest of the head: (n, hidden) to (n, vocabulary).

        Computed as `(W x')'` if `across`, else as `x W'`; which is faster depends on the
        device and on `n`. The two differ by rounding.
        """
        weight, bias = self._parameters()
        if not across and weight.dtype in (torch.float32, torch.float64):
            return nn.functional.linear(x, weight, bias)
        if across or not weight.is_cuda:
            z = _product(weight, x.T).T.contiguous()
        else:
            z = _product(x, weight.T)
        return z if bias is None else z.add_(bias)

    def finished(self, z: Tensor) -> Tensor:
        """Do the rest of the head to some logits (n, entries)."""
        done: Tensor = z if self.plain else self.after(inputs_embeds=z[None]).logits[0]
        return done

    def _parameters(self) -> tuple[Tensor, Tensor | None]:
        bias = self.linear.bias
        return self.linear.weight.detach(), None if bias is None else bias.detach()

    @torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
    def _verified(self, anatomy: Anatomy) -> bool:
        weight = self.linear.weight
        generator = torch.Generator().manual_seed(0)
        states = torch.randn(_PROBE_ROWS, self.hidden, generator=generator)
        # Tiles that do not divide the vocabulary, so that an entry's place in its tile varies.
        tile = self.entries // 3 + 1
        for size in _PROBE_SIZES:
            x = (size * states).to(weight)
            try:
                whole: Tensor = anatomy.headless(inputs_embeds=x[None]).logits[0]
                tiles = [
                    self.logits(x.T, slice(start, start + tile))
                    for start in range(0, self.entries, tile)
                ]
                found = torch.cat(tiles).T
                z = self.product(x, across=False)
                rounding = self._rounding(z, size)
                around = torch.stack([self.finished(z + d) for d in (-rounding, 0.0, rounding)])
            except (RuntimeError, IndexError, ValueError, TypeError, AttributeError):
                return False
            if not found.shape == around.shape[1:] == whole.shape:
                return False
            low, high = around.amin(0), around.amax(0)
            # What is done after the product rounds as well, in the precision of the logits.
            after = _ROUNDINGS * max(_eps(weight.dtype), _eps(whole.dtype))
            slack = after * around.abs().nan_to_num(posinf=0.0).amax(0)
            if not all(
                bool((low - slack <= y).all() and (y <= high + slack).all()) for y in (whole, found)
            ):
                return False
        return True

    def _rounding(self, z: Tensor, size: float) -> Tensor:
        """How far apart two ways to sum the product may lie, (n, entries), for the states given.

        In `w x` with independent `x` of standard deviation `size` the sums on the way are of size
        `size |w|`. Each of `hidden` additions rounds one of them, so that the roundings add up to
        about `sqrt(hidden) eps size |w|`, in single precision at least; the result is rounded to
        the precision of the weights. Soft-caps and scales come later: `z`, not what becomes of
        it, says how much was rounded.
        """
        weight, bias = self._parameters()
        norm = torch.linalg.vector_norm(weight, dim=1, dtype=z.dtype)
        magnitude = z.abs() + size * norm + (0.0 if bias is None else bias.abs())
        eps = math.sqrt(self.hidden) * _eps(z.dtype) + _eps(weight.dtype)
        allowed: Tensor = _ROUNDINGS * eps * magnitude
        return allowed


def _eps(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


def _product(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Matrix product with single-precision sums, not rounded to half precision."""
    if a.dtype in (torch.float32, torch.float64):
        return torch.mm(a, b) if out is None else torch.mm(a, b, out=out)
    if a.is_cuda:
        return torch.mm(a, b, out_dtype=torch.float32)
    z = torch.empty(len(a), b.shape[1])
    b = b.float()
    for start in range(0, len(a), _CONVERTED):
        stop = min(start + _CONVERTED, len(a))
        torch.mm(a[start:stop].float(), b, out=z[start:stop])
    return z
