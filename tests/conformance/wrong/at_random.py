"""Functions that are wrong at random, each with another source of chance.

One call in twenty is wrong, which is seldom enough that few calls with equal input do not show it,
and that a generator which starts from the same seed at each case would never do it.
"""

import itertools
import os
import random
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import register_random

from stopping.testing import Head
from tests.conformance import right_numpy
from tests.conformance.wrong import Wrong
from tests.conformance.wrong.selection import K, non_strict, scan

ONE_IN = 20
REGISTERED = random.Random(7)
register_random(REGISTERED)
OWN = random.Random(8)
OWN_NUMPY = np.random.default_rng(9)
OWN_TORCH = torch.Generator().manual_seed(10)
COUNTER = itertools.count()

SOURCES: dict[str, Callable[[Any], float]] = {
    "random": lambda x: random.random(),
    "numpy-legacy": lambda x: np.random.rand(),  # noqa: NPY002
    "torch": lambda x: float(torch.rand(())),
    "registered-with-hypothesis": lambda x: REGISTERED.random(),
    "own-random": lambda x: OWN.random(),
    "own-numpy": lambda x: OWN_NUMPY.random(),
    "own-torch": lambda x: float(torch.rand((), generator=OWN_TORCH)),
    "fresh-numpy": lambda x: np.random.default_rng().random(),
    "fresh-random": lambda x: random.Random().random(),
    "secrets": lambda x: secrets.randbelow(10**6) / 10**6,
    "urandom": lambda x: os.urandom(1)[0] / 256,
    "uuid": lambda x: uuid.uuid4().int % 10**6 / 10**6,
    "clock": lambda x: hash((time.perf_counter_ns(),)) % 1000 / 1000,
    # There are few addresses: one in three is to be wrong.
    "address": lambda x: hash((id(x),)) % 3 / 3,
    "counter": lambda x: next(COUNTER) % ONE_IN / ONE_IN,
}
"""Numbers in [0, 1), by where they come from."""


def errs(source: Callable[[Any], float]) -> Callable[[np.ndarray], np.ndarray]:
    """The right search, but for one call in twenty."""

    def select(x: np.ndarray) -> np.ndarray:
        layer = scan(x)
        return np.where(source(x) < 1 / ONE_IN, x.shape[1] - 1 - layer, layer)

    return select


def noisy_entropy(logits: np.ndarray) -> np.ndarray:
    """Dropout that was left on."""
    return right_numpy.entropy(logits) + 0.1 * (random.random() < 1 / ONE_IN)


def forgetful_decode(states: np.ndarray, head: Head) -> np.ndarray:
    """A race: now and then the state of the layer below is read."""
    late = np.random.rand() < 1 / ONE_IN  # noqa: NPY002
    shifted = np.roll(states, 1, axis=1) if late else states
    return right_numpy.decode(shifted, head)


def a_race(states: np.ndarray, head: Head) -> np.ndarray:
    """Now and then a layer is read before it is written."""
    return head(states * 0 if random.random() < 1 / ONE_IN else states)


def raises_now_and_then(x: np.ndarray) -> np.ndarray:
    if random.random() < 1 / ONE_IN:
        raise RuntimeError("out of memory\nTry again.")
    return scan(x)


def nan_now_and_then(logits: np.ndarray) -> np.ndarray:
    return right_numpy.entropy(logits) + (np.nan if random.random() < 1 / ONE_IN else 0.0)


def column_now_and_then(x: np.ndarray) -> np.ndarray:
    return scan(x)[:, None] if random.random() < 1 / ONE_IN else scan(x)


def ties_now_and_then(x: np.ndarray) -> np.ndarray:
    """Sorts its candidates, by an order that leaves equal ones as they fall."""
    return non_strict(x) if random.random() < 0.5 else scan(x)


WRONG = (
    Wrong(noisy_entropy, "entropy", "deterministic", {"examples": 100}),
    Wrong(forgetful_decode, "decoder", "deterministic", {"K": K, "examples": 100}),
    Wrong(a_race, "lens", "deterministic", {"examples": 100}),
    Wrong(errs(SOURCES["random"]), "selection", "deterministic", {"K": K, "examples": 100}),
    Wrong(raises_now_and_then, "selection", "answers", {"K": K, "examples": 100}),
    Wrong(nan_now_and_then, "entropy", "answers", {"examples": 100}),
    Wrong(column_now_and_then, "selection", "answers", {"K": K, "examples": 100}),
    Wrong(ties_now_and_then, "selection", "ties", {"K": K, "examples": 100}),
)
