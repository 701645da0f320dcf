"""Decoders, `K = 4`, each with one realistic mistake."""

import numpy as np

from stopping.testing import Head
from stopping.testing.reference import shannon_entropy
from tests.conformance.wrong import Wrong
from tests.conformance.wrong.selection import nan_swallowed, scan

K = 4
P = 0.7
RNG = np.random.default_rng(12)


def decode_from(logits: np.ndarray) -> np.ndarray:
    return take(logits, scan(entropies(logits)))


def entropies(logits: np.ndarray) -> np.ndarray:
    if np.isnan(logits).any():
        raise ValueError("NaN")
    return shannon_entropy(logits)


def take(logits: np.ndarray, layer: np.ndarray) -> np.ndarray:
    return logits[np.arange(len(logits)), layer]


def norm_skipped(states: np.ndarray, head: Head) -> np.ndarray:
    """Feeds residual states to the unembedding as they are."""
    return decode_from(head.unembed(states))


def norm_applied_twice(states: np.ndarray, head: Head) -> np.ndarray:
    """Norms states that are normed already."""
    return decode_from(head(head.norm(states)))


def gain_forgotten(states: np.ndarray, head: Head) -> np.ndarray:
    """Norms without the weight of the norm."""
    return decode_from(head.unembed(head.norm(states) / head.gain))


def log_probabilities(states: np.ndarray, head: Head) -> np.ndarray:
    """Gives back log-probabilities for logits: a later temperature or bias goes astray."""
    z = decode_from(head(states))
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def only_the_token(states: np.ndarray, head: Head) -> np.ndarray:
    """Gives back the most probable token."""
    return decode_from(head(states)).argmax(-1)


def layers_averaged(states: np.ndarray, head: Head) -> np.ndarray:
    """Mixes the chosen layer with the final one."""
    logits = head(states)
    return (take(logits, scan(entropies(logits))) + logits[:, -1]) / 2


def one_choice_for_the_batch(states: np.ndarray, head: Head) -> np.ndarray:
    """Searches the mean entropy of the batch."""
    logits = head(states)
    layer = scan(entropies(logits).mean(axis=0, keepdims=True))
    return logits[:, layer[0]]


def never_ordinary(states: np.ndarray, head: Head) -> np.ndarray:
    """The printed formula: never the final layer."""
    logits = head(states)
    layer = (
        scan(entropies(logits)[:, :-1], K - 1)
        if logits.shape[1] > 1
        else np.zeros(len(logits), int)
    )
    return take(logits, layer)


def states_off_by_one(states: np.ndarray, head: Head) -> np.ndarray:
    """Takes the entropies of layers for those of the layers above them (embeddings counted in)."""
    logits = head(states)
    layer = scan(entropies(logits))
    return take(logits, np.where(layer < states.shape[1] - 1, layer + 1, layer))


def window_too_short(states: np.ndarray, head: Head) -> np.ndarray:
    """Counts the final layer among the `K`."""
    logits = head(states)
    return take(logits, scan(entropies(logits), K - 1))


def index_minus_one(states: np.ndarray, head: Head) -> np.ndarray:
    """A window that begins at a negative index where it is as deep as the stack."""
    return decode_from(head(states[:, states.shape[1] - 1 - K :]))


def nan_swallowed_by_the_scan(states: np.ndarray, head: Head) -> np.ndarray:
    """Entropies of NaN logits are NaN, and the plain loop stops there."""
    logits = head(states)
    unchecked = np.where(np.isnan(logits), 0.0, logits)
    x = np.where(np.isnan(logits).any(-1), np.nan, entropies(unchecked))
    return take(logits, nan_swallowed(x))


def norms_in_place(states: np.ndarray, head: Head) -> np.ndarray:
    """Overwrites the caller's residual stream."""
    states[:] = head.norm(states)
    return decode_from(head.unembed(states))


def fallback_inverted(states: np.ndarray, head: Head) -> np.ndarray:
    """Searches with probability `1 - p`."""
    logits = head(states)
    searches = RNG.random(len(states)) > P
    return np.where(searches[:, None], decode_from(logits), logits[:, -1])


def one_draw_for_the_batch(states: np.ndarray, head: Head) -> np.ndarray:
    """Draws once for all tokens of the batch."""
    logits = head(states)
    return decode_from(logits) if RNG.random() < P else logits[:, -1]


class Leaking:
    """Gives back what it chose before, where the shape fits."""

    __name__ = "state_leaking"

    def __init__(self) -> None:
        self.before: np.ndarray | None = None

    def __call__(self, states: np.ndarray, head: Head) -> np.ndarray:
        logits = head(states)
        layer = scan(entropies(logits))
        stale = self.before is not None and len(self.before) == len(layer)
        used = np.minimum(self.before, states.shape[1] - 1) if stale else layer
        self.before = layer
        return take(logits, used)


state_leaking = Leaking()

WINDOW = {"K": K}
RANDOM = {"K": K, "p": P}
WRONG = tuple(
    Wrong(function, "decoder", caught_by, options)
    for function, caught_by, options in (
        (only_the_token, "answers", WINDOW),
        (norms_in_place, "unchanged", WINDOW),
        (log_probabilities, "head", WINDOW),
        (norm_skipped, "norm", WINDOW),
        (norm_applied_twice, "norm-once", WINDOW),
        (gain_forgotten, "norm-once", WINDOW),
        (layers_averaged, "unmixed", WINDOW),
        (state_leaking, "repeatable", WINDOW),
        (never_ordinary, "ordinary", WINDOW),
        (states_off_by_one, "valley", WINDOW),
        (window_too_short, "window", WINDOW),
        (index_minus_one, "full-window", WINDOW),
        (one_choice_for_the_batch, "rows", WINDOW),
        (nan_swallowed_by_the_scan, "nan", WINDOW),
        (fallback_inverted, "fallback", RANDOM),
        (one_draw_for_the_batch, "draws", RANDOM),
    )
)
