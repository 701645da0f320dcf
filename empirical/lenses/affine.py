r"""The translation of one layer into the final layer's coordinates.

The map `h + h A + b` is trained to minimise the mean cross-entropy of a target distribution with
the translated layer's, through the model's own final norm and head, which stay fixed. The target is
the final layer's distribution (the cross-entropy is then a KL divergence up to a constant) or the
reference token (log-loss).

It *starts* from the better, on the validation prompts, of two maps: the identity, and the linear
regression of the final state on the layer's (Din et al. 2023, arXiv:2303.09435), which needs no
logits at all; for a low rank, the reduced-rank regression. *Training* is Adam in coordinates
divided by each dimension's root mean square, for residual streams have dimensions a thousand times
larger than the rest. It *stops* when the validation loss no longer falls, and the best map seen is
kept: a translation is never worse, on the validation prompts, than no translation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from empirical.lenses.calibrated import Correction, Translation
from empirical.lenses.states import States, Target, expected_logit, finite_logits
from empirical.lenses.training import Descent, Tell, descend
from empirical.model.anatomy import Anatomy

_RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
_TINY = 1e-6


def cross_entropy(
    anatomy: Anatomy, states: States, layer: int, target: Target, correction: Correction
) -> Tensor:
    """Cross-entropy of the target with the corrected layer's distribution, nats, (n,)."""
    z = finite_logits(correction.read(anatomy, states.layers[layer][None]))
    return z.logsumexp(1) - expected_logit(anatomy, states, target, z)


@dataclass(frozen=True, eq=False)
class Task:
    """What a translation is fitted on: `rank` None asks for a full matrix."""

    anatomy: Anatomy
    train: States
    validation: States
    layer: int
    target: Target
    rank: int | None

    def loss(self, states: States, translation: Translation | None) -> Tensor:
        """Mean cross-entropy on some tokens, differentiable in the translation."""
        correction = Correction(1.0, translation)
        return cross_entropy(self.anatomy, states, self.layer, self.target, correction).mean()

    def judge(self, translation: Translation | None) -> float:
        """Mean cross-entropy on the validation tokens."""
        total = 0.0
        with torch.no_grad():
            for part in self.validation.chunks(self.anatomy.vocabulary_size):
                total += len(part) * float(self.loss(part, translation))
        return total / len(self.validation)


def fit_translation(
    task: Task, epochs: int, seed: int, tell: Tell = lambda text: None
) -> Descent[Translation | None]:
    """Fit the translation of one layer.

    Parameters
    ----------
    epochs
        Most passes over the training tokens; 0 keeps the regression, or the identity.

    Returns
    -------
    Descent
        Its best translation is None where the identity was best on the validation tokens.
    """
    generator = torch.Generator().manual_seed(seed)
    scales = Scales.of(task)
    regression = _regression(task, scales)
    unchanged, regressed = task.judge(None), task.judge(scales.fold(regression))
    tell(f"layer {task.layer}: {unchanged:.3f} nats, by regression {regressed:.3f}")
    if regressed < unchanged:
        return _train(task, scales, regression, regressed, epochs, generator, tell)
    identity = _identity(scales, task.rank, generator)
    found = _train(task, scales, identity, unchanged, epochs, generator, tell)
    return found if found.epoch > 0 else replace(found, best=None)


def _train(
    task: Task,
    scales: "Scales",
    start: Sequence[Tensor],
    start_loss: float,
    epochs: int,
    generator: torch.Generator,
    tell: Tell,
) -> Descent[Translation | None]:
    """Improve the weights `start` as long as the validation loss falls."""
    found = descend(
        start,
        start_loss,
        lambda weights, rows: task.loss(task.train.rows(rows), scales.fold(weights)),
        lambda weights: task.judge(scales.fold(weights)),
        len(task.train),
        epochs,
        generator,
        tell=lambda text: tell(f"layer {task.layer}: {text}"),
    )
    return Descent(scales.fold(found.best), found.losses)


@dataclass(frozen=True, eq=False)
class Scales:
    """Root mean square of each dimension at the layer and at the final one, (hidden,)."""

    source: Tensor
    goal: Tensor

    @classmethod
    def of(cls, task: Task) -> "Scales":
        """Measure both on the training tokens."""
        return cls(_size(task.train.layers[task.layer]), _size(task.train.final))

    def fold(self, weights: Sequence[Tensor]) -> Translation:
        """From scaled coordinates to states: `h + goal * ((h / source) @ factors + bias)`."""
        *factors, bias = weights
        factors = [factors[0] / self.source[:, None], *factors[1:]]
        factors = [*factors[:-1], factors[-1] * self.goal]
        return Translation(tuple(factors), bias * self.goal)


def _size(states: Tensor) -> Tensor:
    size = states.flatten(1).float().square().mean(0).sqrt()
    return size.clamp(min=_TINY * float(size.max().clamp(min=_TINY)))


def _identity(scales: Scales, rank: int | None, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Weights of the map that changes nothing, ready to be trained."""
    d = len(scales.source)
    zero = scales.source.new_zeros
    if rank is None:
        return zero(d, d), zero(d)
    # One factor is random, or the gradients of both would stay zero.
    first = torch.randn(d, rank, generator=generator).to(scales.source) / d**0.5
    return first, zero(rank, d), zero(d)


def _regression(task: Task, scales: Scales) -> tuple[Tensor, ...]:
    """Ridge regression of `(h[L] - h) / goal` on `h / source`, cut to the rank.

    The ridge is the one with the least squared error on the validation tokens.
    """

    def tables(states: States) -> tuple[Tensor, Tensor]:
        h, last = states.layers[task.layer].flatten(1).double(), states.final.flatten(1).double()
        return h / scales.source, (last - h) / scales.goal

    (x, y), (x_new, y_new) = tables(task.train), tables(task.validation)
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    gram, cross = x.T @ x, x.T @ y
    candidates: list[tuple[float, tuple[Tensor, ...]]] = []
    for ridge in _RIDGES:
        metric = gram + ridge * len(x) * torch.eye(len(gram), dtype=x.dtype, device=x.device)
        slope = torch.linalg.solve(metric, cross)
        product: tuple[Tensor, ...] = (slope,)
        if task.rank is not None:
            product = _cut(slope, metric, task.rank)
        error = _product(x_new - x_mean, product) + y_mean - y_new
        candidates.append((float(error.square().mean()), product))
    _, factors = min(candidates, key=lambda candidate: candidate[0])
    bias = y_mean - _product(x_mean, factors)
    return tuple(weight.float().contiguous() for weight in (*factors, bias))


def _product(x: Tensor, factors: Sequence[Tensor]) -> Tensor:
    for factor in factors:
        x = x @ factor
    return x


def _cut(slope: Tensor, metric: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Best approximation of `slope` by a product of the given rank, in the metric given.

    With `metric = C^T C` the ridge loss of a slope B is a constant plus |C (slope - B)|^2, whose
    minimum at a rank is the cut of the singular values of `C slope` (Eckart and Young 1936).
    """
    c = torch.linalg.cholesky(metric, upper=True)
    u, s, v = torch.linalg.svd(c @ slope, full_matrices=False)
    root = s[:rank].sqrt()
    first = torch.linalg.solve_triangular(c, u[:, :rank] * root, upper=True)
    return first, root[:, None] * v[:rank]
