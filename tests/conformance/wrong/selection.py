"""Selection functions, `K = 4`, each with one realistic mistake.

But for the one whose mistake it is, all refuse NaN, so that only `nan` speaks of it.
"""

import numpy as np

from tests.conformance.wrong import Wrong

K = 4
P = 0.7
RNG = np.random.default_rng(11)


def finite(x: np.ndarray) -> None:
    if np.isnan(x).any():
        raise ValueError("NaN")


def scan(x: np.ndarray, K: int = K) -> np.ndarray:
    """The right search, vectorised: the wrong ones differ from it in one place."""
    finite(x)
    last = x.shape[1] - 1
    layer = np.full(len(x), last)
    going = np.ones(len(x), dtype=bool)
    for below in range(last - 1, max(0, last - K) - 1, -1):
        going &= x[:, below] < x[:, below + 1]
        layer[going] = below
    return layer


def off_by_one(x: np.ndarray) -> np.ndarray:
    """Remembers the layer that it steps from, not the one that it steps to."""
    layer = scan(x)
    return np.minimum(layer + 1, x.shape[1] - 1)


def non_strict(x: np.ndarray) -> np.ndarray:
    """`<=`: goes on through ties."""
    finite(x)
    last = x.shape[1] - 1
    layer = np.full(len(x), last)
    going = np.ones(len(x), dtype=bool)
    for below in range(last - 1, max(0, last - K) - 1, -1):
        going &= x[:, below] <= x[:, below + 1]
        layer[going] = below
    return layer


def global_minimum(x: np.ndarray) -> np.ndarray:
    """The least entropy in the window (the deepest of equals) instead of the first valley."""
    finite(x)
    return x.shape[1] - 1 - x[:, -K - 1 :][:, ::-1].argmin(axis=1)


def index_minus_one(x: np.ndarray) -> np.ndarray:
    """`x[:, last - K:]` begins at a negative index where the window is as deep as the stack."""
    finite(x)
    last = x.shape[1] - 1
    window = x[:, last - K :][:, ::-1]
    return last - np.cumprod(window[:, 1:] < window[:, :-1], axis=1).sum(axis=1)


def window_too_short(x: np.ndarray) -> np.ndarray:
    """Counts the final layer among the `K`."""
    return scan(x, K - 1)


def window_too_long(x: np.ndarray) -> np.ndarray:
    """One step more than `K`."""
    return scan(x, K + 1)


def one_choice_for_the_batch(x: np.ndarray) -> np.ndarray:
    """Searches the mean entropy of the batch."""
    return np.repeat(scan(x.mean(axis=0, keepdims=True)), len(x))


def stops_together(x: np.ndarray) -> np.ndarray:
    """Leaves the loop as soon as any token stops, and all with it."""
    finite(x)
    last = layer = x.shape[1] - 1
    while layer > max(0, last - K) and (x[:, layer - 1] < x[:, layer]).all():
        layer -= 1
    return np.full(len(x), layer)


def final_never_selectable(x: np.ndarray) -> np.ndarray:
    """The formula that the paper prints: the largest `l < L`."""
    finite(x)
    return scan(x[:, :-1], K - 1) if x.shape[1] > 1 else scan(x)


def nan_swallowed(x: np.ndarray) -> np.ndarray:
    """A comparison with NaN is false: the plain loop stops there and says nothing."""
    last = x.shape[1] - 1
    layers = []
    for row in x:
        layer = last
        while layer > max(0, last - K) and row[layer - 1] < row[layer]:
            layer -= 1
        layers.append(layer)
    return np.array(layers)


def nan_is_zero(x: np.ndarray) -> np.ndarray:
    """`nan_to_num` turns NaN into the most confident of all entropies."""
    return scan(np.nan_to_num(x))


def reference_never_updated(x: np.ndarray) -> np.ndarray:
    """Compares every layer with the final one instead of with the one above it."""
    finite(x)
    last = x.shape[1] - 1
    layers = []
    for row in x:
        layer = last
        while layer > max(0, last - K) and row[layer - 1] < row[last]:
            layer -= 1
        layers.append(layer)
    return np.array(layers)


def gives_up_after_one_step(x: np.ndarray) -> np.ndarray:
    """Looks one layer back only."""
    return np.maximum(scan(x), x.shape[1] - 2)


def compares_in_bfloat16(x: np.ndarray) -> np.ndarray:
    """Stores entropies in the upper half of a float32."""
    kept = x.astype(np.float32).view(np.uint32) + np.uint32(0x8000) & np.uint32(0xFFFF0000)
    return scan(kept.view(np.float32))


def wants_a_clear_fall(x: np.ndarray) -> np.ndarray:
    """Steps back only where entropy falls by more than a hidden margin of 1e-5 nats."""
    finite(x)
    last = x.shape[1] - 1
    window = x[:, max(0, last - K) :][:, ::-1].astype(np.float64)
    # A relative margin, so that tiny entropies still count.
    falls = window[:, 1:] < window[:, :-1] * (1 - 1e-5)
    return last - np.cumprod(falls, axis=1).sum(axis=1)


def confident_shortcut(x: np.ndarray) -> np.ndarray:
    """Does not search where the final layer is below 0.01 nats."""
    return np.where(x[:, -1] < 0.01, x.shape[1] - 1, scan(x))


def as_floats(x: np.ndarray) -> np.ndarray:
    """Layers as real numbers, which index nothing."""
    return scan(x).astype(np.float64)


def as_column(x: np.ndarray) -> np.ndarray:
    """Shape (n, 1), which broadcasts where it should index."""
    return scan(x)[:, None]


def needs_two_layers(x: np.ndarray) -> np.ndarray:
    """Reads the layer below the last before it asks whether there is one."""
    return np.where(x[:, -2] < x[:, -1], scan(x), x.shape[1] - 1)


def sorts_in_place(x: np.ndarray) -> np.ndarray:
    """Turns the caller's array around to scan it forwards."""
    layer = scan(x)
    x[:] = x[:, ::-1].copy()
    return layer


def fallback_inverted(x: np.ndarray) -> np.ndarray:
    """Searches with probability `1 - p`."""
    return np.where(RNG.random(len(x)) > P, scan(x), x.shape[1] - 1)


def one_draw_for_the_batch(x: np.ndarray) -> np.ndarray:
    """Draws once for all tokens of the batch."""
    return scan(x) if RNG.random() < P else np.full(len(x), x.shape[1] - 1)


class Leaking:
    """Keeps the running minimum of the last call, where the shape fits."""

    __name__ = "state_leaking"

    def __init__(self) -> None:
        self.before: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        mixed = x if self.before is None or self.before.shape != x.shape else (x + self.before) / 2
        self.before = x.copy()
        return scan(mixed)


state_leaking = Leaking()

WINDOW = {"K": K}
RANDOM = {"K": K, "p": P}
WRONG = tuple(
    Wrong(function, "selection", caught_by, options)
    for function, caught_by, options in (
        (as_floats, "answers", WINDOW),
        (as_column, "answers", WINDOW),
        (sorts_in_place, "unchanged", WINDOW),
        (state_leaking, "repeatable", WINDOW),
        (needs_two_layers, "one-layer", WINDOW),
        (final_never_selectable, "stays", WINDOW),
        (off_by_one, "descends", WINDOW),
        (gives_up_after_one_step, "descends", WINDOW),
        (reference_never_updated, "excess", WINDOW),
        (global_minimum, "stops", WINDOW),
        (non_strict, "ties", WINDOW),
        (compares_in_bfloat16, "near-ties", WINDOW),
        (wants_a_clear_fall, "near-ties", WINDOW),
        (confident_shortcut, "scale", WINDOW),
        (window_too_short, "window", WINDOW),
        (window_too_long, "window", WINDOW),
        (index_minus_one, "full-window", WINDOW),
        (one_choice_for_the_batch, "rows", WINDOW),
        (stops_together, "rows", WINDOW),
        (nan_swallowed, "nan", WINDOW),
        (nan_is_zero, "nan", WINDOW),
        (fallback_inverted, "fallback", RANDOM),
        (one_draw_for_the_batch, "draws", RANDOM),
    )
)
