"""Entropy functions, each with one realistic mistake."""

import numpy as np
import torch
from torch import Tensor

from tests.conformance.right_torch import entropy
from tests.conformance.wrong import Wrong


def logarithm_in_place(logits: Tensor) -> Tensor:
    """`p * p.log_()`: by the time it multiplies, `p` is `log p`."""
    p = logits.float().softmax(-1)
    return -(p * p.log_()).sum(-1)


def collision_entropy(logits: Tensor) -> Tensor:
    """Renyi's entropy of order 2: right for equal logits only."""
    return -logits.float().softmax(-1).square().sum(-1).log()


def base_two(logits: Tensor) -> Tensor:
    """Bits instead of nats."""
    return entropy(logits) / np.log(2)


def sign_forgotten(logits: Tensor) -> Tensor:
    """`sum p log p`, whose sign turns the search round."""
    return -entropy(logits)


def zero_times_infinity(logits: Tensor) -> Tensor:
    """`0 log 0` where a probability underflows."""
    p = logits.float().softmax(-1)
    return -(p * p.log()).sum(-1)


def masked_words_are_nan(logits: Tensor) -> Tensor:
    """`0 * -inf` at a masked token."""
    log_p = logits.float().log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def exponential_overflows(logits: np.ndarray) -> np.ndarray:
    """Does not subtract the largest logit first."""
    z = logits.astype(np.float32)
    weight = np.exp(z)
    total = weight.sum(-1)
    moment = np.where(weight > 0, weight * z, 0).sum(-1)
    return np.log(total) - moment / total


def logarithm_with_a_floor(logits: Tensor) -> Tensor:
    """`log(p + 1e-6)`: harmless for few tokens, not for many."""
    p = logits.float().softmax(-1)
    return -(p * (p + 1e-6).log()).sum(-1)


def softmax_in_bfloat16(logits: Tensor) -> Tensor:
    """Computes in the precision that the logits come in."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p.clamp(min=-1e4)).sum(-1).float()


def rounded_to_the_logits_dtype(logits: Tensor) -> Tensor:
    """Right to the last line, which casts back."""
    return entropy(logits).to(logits.dtype)


def largest_of_the_batch(logits: np.ndarray) -> np.ndarray:
    """Subtracts the largest logit of the batch, so that other rows underflow."""
    z = logits.astype(np.float32)
    z = z - z.max()
    weight = np.exp(z)
    total = weight.sum(-1)
    return np.log(total) - np.where(weight > 0, weight * z, 0).sum(-1) / total


def nan_is_zero(logits: Tensor) -> Tensor:
    """`nan_to_num` makes a row without a distribution the most confident of all."""
    return entropy(logits).nan_to_num(0.0)


def subtracts_in_place(logits: np.ndarray) -> np.ndarray:
    """Shifts the caller's logits."""
    logits -= logits.max(-1, keepdims=True)
    z = logits.astype(np.float64)
    weight = np.exp(z)
    total = weight.sum(-1)
    return np.log(total) - np.where(weight > 0, weight * z, 0).sum(-1) / total


def mean_of_the_batch(logits: Tensor) -> Tensor:
    """One number for all rows."""
    return entropy(logits).mean()


class Leaking:
    """Smooths entropies over calls."""

    __name__ = "state_leaking"

    def __init__(self) -> None:
        self.before: Tensor | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        now = entropy(logits)
        same_shape = self.before is not None and self.before.shape == now.shape
        smooth = (now + self.before) / 2 if same_shape else now
        self.before = torch.clone(now)
        return smooth


state_leaking = Leaking()

TORCH = {"framework": "torch"}
WRONG = tuple(
    Wrong(function, "entropy", caught_by, options)
    for function, caught_by, options in (
        (mean_of_the_batch, "answers", TORCH),
        (subtracts_in_place, "unchanged", {}),
        (state_leaking, "repeatable", TORCH),
        (logarithm_in_place, "shannon", TORCH),
        (collision_entropy, "shannon", TORCH),
        (base_two, "nats", TORCH),
        (sign_forgotten, "nats", TORCH),
        (zero_times_infinity, "peaked", TORCH),
        (masked_words_are_nan, "masked", TORCH),
        (exponential_overflows, "shifted", {}),
        (logarithm_with_a_floor, "vocabulary", TORCH),
        (softmax_in_bfloat16, "half-precision", TORCH),
        (rounded_to_the_logits_dtype, "half-precision", TORCH),
        (largest_of_the_batch, "rows", {}),
        (nan_is_zero, "nan", TORCH),
    )
)
