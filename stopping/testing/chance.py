"""What a function that errs at random may hang on, kept as it is where such a function is used.

Hypothesis seeds `random`, numpy's legacy generator and all that `register_random` has been told of
with 0 before each case. An implementation that draws its errors from one of them would draw the
same at each case, and pass by accident however often it is asked. So each time that a case is
judged these generators, and torch's, start from another number (`reseed`), which depends on the
suite's seed alone: reports repeat. Afterwards all of them are as they were found (`untouched`).

Other sources (the operating system's entropy, clocks, counters, addresses, generators of the
function's own) are left to themselves.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis.internal import entropy

from stopping.testing.arrays import torch, torch_in_use


class _NumpyGlobal:
    """numpy's legacy generator with the methods of `random`."""

    seed = staticmethod(np.random.seed)  # the very one that is to be seeded
    getstate = staticmethod(np.random.get_state)
    setstate = staticmethod(np.random.set_state)


def _generators() -> list[Any]:
    """Every generator that Hypothesis seeds; of the registered ones it has no public list."""
    registered = getattr(entropy, "RANDOMS_TO_MANAGE", {})
    return [random, _NumpyGlobal, *registered.values()]


def reseed(seed: int) -> None:
    """Start every global generator from `seed`, below 2**32."""
    for generator in _generators():
        generator.seed(seed)
    if torch_in_use():
        torch().default_generator.manual_seed(seed)


@contextmanager
def untouched() -> Iterator[None]:
    """Give every global generator, those of torch's devices included, its state back."""
    states = [(generator, generator.getstate()) for generator in _generators()]
    t = torch() if torch_in_use() else None
    of_torch = t.get_rng_state() if t else None
    of_gpus = t.cuda.get_rng_state_all() if t and t.cuda.is_initialized() else None
    try:
        yield
    finally:
        for generator, state in states:
            generator.setstate(state)
        if t:
            t.set_rng_state(of_torch)
        if t and of_gpus is not None:
            t.cuda.set_rng_state_all(of_gpus)
