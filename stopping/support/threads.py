"""Linear algebra on one thread, so that its results do not depend on how many there are.

A library of linear algebra splits a product among its threads, and each number of threads orders
the sums in another way: results differ in their last bits, and what is chosen by comparing them
(the better of two maxima, the next step of a search) may differ in all. A worker process has fewer
threads than the process that started it, so without this a result would depend on the workers.
Jobs run side by side; threads inside each would only be in one another's way.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock, Thread
from typing import Any

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold all libraries of linear algebra to one thread; also a decorator of functions.

    It may be entered within itself and by several threads at once: what was set before comes back
    when the last one leaves. A library that is loaded later, by an import inside, is not held.
    """
    libraries = _libraries(len(sys.modules))
    _process.enter(libraries)
    try:
        # What belongs to each thread (OpenMP); the rest is held already and stays so.
        with libraries.limit(limits=1):
            yield
    finally:
        _process.leave()


class _Process:
    """What belongs to the process: the first thread that enters sets it, the last restores it.

    Both in a thread that ends at once, as `threadpoolctl` lets no other thread undo what one that
    still lives has set.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limit: Any = None

    def enter(self, libraries: ThreadpoolController) -> None:
        with self._lock:
            if self._inside == 0:
                _aside(lambda: setattr(self, "_limit", libraries.limit(limits=1)))
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _aside(self._limit.restore_original_limits)


_process = _Process()


def _aside(act: Callable[[], object]) -> None:
    thread = Thread(target=act)
    thread.start()
    thread.join()


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """Find the libraries that are loaded, again only after an import: it takes milliseconds."""
    return ThreadpoolController()
