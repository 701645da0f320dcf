"""Lens evaluations, each with a mistake that public implementations have made.

Public reports tell of the final layer's size at every layer (`final_size_everywhere`), the next
block's norm (`next_blocks_norm`), a norm that is applied twice at the top or not at all
(`top_normed_twice`, `norm_left_out`), states one layer off (`one_layer_off`), a final layer that is
missing (`last_layer_missing`), and states that are all zero (`zero_states`). The others are
mistakes of the same kinds.
"""

import numpy as np

from stopping.testing import Head
from stopping.testing.head import Head as AnyHead
from tests.conformance.wrong import Wrong


def rms(h: np.ndarray, epsilon: float = 1e-6) -> np.ndarray:
    return np.sqrt((h * h).mean(-1, keepdims=True) + epsilon)


def final_size_everywhere(states: np.ndarray, head: Head) -> np.ndarray:
    """Divides every layer's state by the size of the final layer's."""
    return head.unembed(states / rms(states[:, -1:]) * head.gain)


def next_blocks_norm(states: np.ndarray, head: Head) -> np.ndarray:
    """Applies the norm in front of the next block in place of the final one."""
    return head.unembed(head.norm(states) / head.gain * np.roll(head.gain, 1))


def gain_left_out(states: np.ndarray, head: Head) -> np.ndarray:
    """Divides by the size, and forgets the norm's weight."""
    return head.unembed(states / rms(states))


def normed_twice(states: np.ndarray, head: Head) -> np.ndarray:
    """Norms states that are normed already."""
    return head(head.norm(states))


def top_normed_twice(states: np.ndarray, head: Head) -> np.ndarray:
    """Norms all layers of `hidden_states`, the last of which comes normed."""
    normed = np.concatenate([states[:, :-1], head.norm(states[:, -1:])], axis=1)
    return head(normed)


def norm_left_out(states: np.ndarray, head: Head) -> np.ndarray:
    """Feeds residual states to the unembedding as they are."""
    return head.unembed(states)


def norm_left_out_below(states: np.ndarray, head: Head) -> np.ndarray:
    """Norms the final layer alone, as the model does."""
    return np.concatenate([head.unembed(states[:, :-1]), head(states[:, -1:])], axis=1)


def centred(states: np.ndarray, head: Head) -> np.ndarray:
    """Takes the root mean square norm for one that subtracts the mean."""
    return head(states - states.mean(-1, keepdims=True))


def other_epsilon(states: np.ndarray, head: Head) -> np.ndarray:
    """A library's default in place of the model's constant."""
    return head.unembed(states / rms(states, 1e-5) * head.gain)


def one_layer_off(states: np.ndarray, head: Head) -> np.ndarray:
    """Counts the embeddings as the first layer."""
    return head(np.concatenate([states[:, :1], states[:, :-1]], axis=1))


def upside_down(states: np.ndarray, head: Head) -> np.ndarray:
    """Gives the layers from the last to the first."""
    return head(states[:, ::-1])


def last_layer_missing(states: np.ndarray, head: Head) -> np.ndarray:
    """Collects what goes *into* each layer, and so never the final state."""
    return head(states[:, :-1])


def a_layer_skipped(states: np.ndarray, head: Head) -> np.ndarray:
    """Misses a layer of another kind than the others, and fills up with its neighbour."""
    logits = head(states)
    logits[:, 0] = logits[:, min(1, logits.shape[1] - 1)]
    return logits


def zero_states(states: np.ndarray, head: Head) -> np.ndarray:
    """Leaves the rows of a hybrid model's first layers as they were allocated."""
    filled = states.copy()
    filled[:, : states.shape[1] - 1] = 0.0
    return head(filled)


def bias_left_out(states: np.ndarray, head: Head) -> np.ndarray:
    return remade(head, bias=None)(states)


def scale_left_out(states: np.ndarray, head: Head) -> np.ndarray:
    return remade(head, scale=1.0)(states)


def cap_left_out(states: np.ndarray, head: Head) -> np.ndarray:
    return remade(head, cap=0.0)(states)


def capped_before_scaled(states: np.ndarray, head: Head) -> np.ndarray:
    """Bends logits and scales them afterwards."""
    return remade(head, scale=1.0)(states) * head.scale


def bent_twice(states: np.ndarray, head: Head) -> np.ndarray:
    """Bends what the model's own head has bent."""
    z = head(states)
    return head.cap * np.tanh(z / head.cap) if head.cap else z


def log_probabilities(states: np.ndarray, head: Head) -> np.ndarray:
    """Gives back log-probabilities for logits."""
    z = head(states)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def size_of_the_batch(states: np.ndarray, head: Head) -> np.ndarray:
    """Takes the norm's statistics over all tokens of a layer."""
    mean_square = (states * states).mean((0, 2), keepdims=True)
    return head.unembed(states / np.sqrt(mean_square + 1e-6) * head.gain)


def nan_spread(states: np.ndarray, head: Head) -> np.ndarray:
    """Replaces NaN, which then passes for a state."""
    return head(np.nan_to_num(states))


def norms_in_place(states: np.ndarray, head: Head) -> np.ndarray:
    """Overwrites the caller's residual stream."""
    states[:] = head.norm(states)
    return head.unembed(states)


class Cached:
    """Keeps the first layer's logits of the call before, where the shape fits."""

    __name__ = "cached"

    def __init__(self) -> None:
        self.before: np.ndarray | None = None

    def __call__(self, states: np.ndarray, head: Head) -> np.ndarray:
        logits = head(states)
        stale = self.before is not None and self.before.shape == logits[:, 0].shape
        first, self.before = self.before if stale else logits[:, 0], logits[:, 0].copy()
        logits[:, 0] = first
        return logits


def remade(head: Head, **others: object) -> Head:
    parts = ("gain", "matrix", "bias", "scale", "cap", "epsilon")
    return AnyHead(**{name: getattr(head, name) for name in parts} | others)


WRONG = tuple(
    Wrong(function, "lens", caught_by)
    for function, caught_by in (
        (last_layer_missing, "answers"),
        (norms_in_place, "unchanged"),
        (Cached(), "repeatable"),
        (log_probabilities, "head"),
        (centred, "head"),
        (one_layer_off, "top"),
        (upside_down, "top"),
        (a_layer_skipped, "layers"),
        (zero_states, "layers"),
        (norm_left_out, "norm"),
        (norm_left_out_below, "norm"),
        (final_size_everywhere, "own-norm"),
        (normed_twice, "norm-once"),
        (top_normed_twice, "norm-once"),
        (next_blocks_norm, "norm-once"),
        (gain_left_out, "norm-once"),
        (other_epsilon, "epsilon"),
        (bias_left_out, "bias"),
        (scale_left_out, "scale"),
        (cap_left_out, "cap"),
        (bent_twice, "cap"),
        (capped_before_scaled, "order"),
        (size_of_the_batch, "rows"),
        (nan_spread, "nan"),
    )
)
