r"""The mean Jacobian from a layer to the final one, read off on reference text.

To first order the layers above `l` do `h_L = h_L* + J (h - h*)`. The Jacobian lens takes for `J`
the mean of `d h_L[t] / d h_l[t]` over positions `t` of reference text, for the two base points the
means of the states there, and reads what comes out through the model's own final norm and head:

    h -> mean h_L + J (h - mean h_l).

Unlike a regression of `h_L` on `h_l` it knows what the layers *do*, and nothing of which states go
together; unlike a tuned lens it is fitted to no token and no distribution.

*Estimator.* For random cotangents `w_t`, independent over positions, one backward pass gives the
products `g_l[t] = sum_s (d h_L[s] / d h_l[t])' w_s` at all layers at once; the terms of other
positions have mean zero. So `E g_l[t] = J_t' w_t`, and

    J_l = ( sum w w' )^-1  sum w g_l'

is the least-squares estimate. It is exact where `J_t` is one matrix and positions do not mix.
*Error.* Texts go to two halves in turn; half the distance between both estimates, relative to the
size of the whole one (Frobenius norm), estimates the relative error. Of `n` positions and `d`
dimensions it falls like `sqrt(d / n)`; they are drawn anew until there are `_ROWS d` rows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from empirical.lenses.calibrated import Translation
from empirical.model.anatomy import Anatomy
from empirical.texts import Text
from stopping.errors import UserError

_ROWS = 8


@dataclass(frozen=True, eq=False)
class MeanJacobian:
    """Mean Jacobian of one layer (hidden, hidden), the base points (hidden,), and the error.

    `error` is relative, in the Frobenius norm.
    """

    matrix: Tensor
    source: Tensor
    goal: Tensor
    error: float

    @property
    def translation(self) -> Translation:
        """The same as a map of states, `h + h A + b`."""
        change = self.matrix.T - torch.eye(len(self.matrix), dtype=self.matrix.dtype)
        bias = self.goal - self.source @ self.matrix.T
        return Translation((change.float().contiguous(),), bias.float())


class _Sums:
    """Sums over positions of one half of the texts."""

    def __init__(self, layers: Sequence[int], width: int) -> None:
        zeros = torch.zeros(width, width, dtype=torch.float64)
        self.gram = zeros.clone()
        self.cross = {layer: zeros.clone() for layer in layers}
        self.rows = 0

    def add(self, w: Tensor, gradients: dict[int, Tensor]) -> None:
        """Take cotangents and products, (n, hidden) each."""
        self.gram += w.T @ w
        for layer, g in gradients.items():
            self.cross[layer] += w.T @ g
        self.rows += len(w)

    def solve(self, layer: int) -> Tensor:
        """Least squares."""
        found: Tensor = torch.linalg.solve(self.gram, self.cross[layer])
        return found


def mean_jacobians(
    anatomy: Anatomy,
    texts: Sequence[Text],
    layers: Sequence[int],
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> dict[int, MeanJacobian]:
    """Estimate the mean Jacobians of `layers` to the final layer, by number of the layer.

    Parameters
    ----------
    texts
        Reference texts; the positions that predict a token of a completion count.

    Raises
    ------
    UserError
        If there are too few positions for any estimate, or a gradient is no number.
    """
    texts = [text for text in texts if text.completion_ids]
    positions = sum(len(text.completion_ids) for text in texts)
    generator = torch.Generator().manual_seed(seed)
    halves: list[_Sums] = []
    means: dict[int, Tensor] = {}
    last = len(anatomy.layers)
    for number, text in enumerate(texts):
        states = _states(anatomy, text, {*layers, last})
        here = slice(len(text.prompt_ids) - 1, len(text) - 1)
        final = states[last]
        width = final[0, 0].numel()
        halves = halves or [_Sums(layers, width), _Sums(layers, width)]
        for layer, state in states.items():
            rows = state.detach()[0, here].flatten(1).double().cpu()
            means[layer] = means.get(layer, 0) + rows.sum(0) / positions
        draws = max(1, math.ceil(_ROWS * width / positions))
        for draw in range(draws):
            w = torch.zeros(final.shape)
            w[0, here] = torch.randn(w[0, here].shape, generator=generator)
            found = torch.autograd.grad(
                final,
                [states[layer] for layer in layers],
                w.to(final),
                retain_graph=draw < draws - 1,
            )
            products = {
                layer: g[0, here].flatten(1).double().cpu()
                for layer, g in zip(layers, found, strict=True)
            }
            halves[number % 2].add(w[0, here].flatten(1).double(), products)
        advance()
    if len(texts) < 2 or min(half.rows for half in halves) <= width:
        raise UserError(
            f"lens: {positions} positions of {len(texts)} training texts are too few for a "
            "Jacobian; use more --problems"
        )
    return {layer: _joined(halves, layer, means[layer], means[last]) for layer in layers}


def _joined(halves: list[_Sums], layer: int, source: Tensor, goal: Tensor) -> MeanJacobian:
    first, second = (half.solve(layer) for half in halves)
    gram = halves[0].gram + halves[1].gram
    whole = torch.linalg.solve(gram, halves[0].cross[layer] + halves[1].cross[layer])
    if not whole.isfinite().all():
        raise UserError(
            f"lens: the gradients of layer {layer} hold NaN or infinity; load the model with "
            "--dtype float32"
        )
    error = float((first - second).norm() / (2 * whole.norm()))
    return MeanJacobian(whole, source, goal, error)


def _states(anatomy: Anatomy, text: Text, kept: set[int]) -> dict[int, Tensor]:
    """States of some layers, (1, positions, ...), joined by a graph."""
    found: dict[int, Tensor] = {}

    def hear(layer: int, state: Tensor) -> None:
        if layer == 0 and not state.requires_grad:
            state.requires_grad_()
        if layer in kept:
            found[layer] = state

    ids = torch.tensor([text.ids], device=anatomy.device)
    with torch.enable_grad(), anatomy.listening(hear):
        anatomy.decoder(input_ids=ids, use_cache=False)
    return found
