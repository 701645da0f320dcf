"""One grid for all that is measured world by world: `sweep`, phase diagrams, robustness.

A *world* is a frozen dataclass whose text names it. What is measured there has streams of its own,
keyed by the seed and that text, so it comes out the same alone, beside others, resumed or in
parallel.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from stopping.errors import UserError
from stopping.support.parallel import Workers
from stopping.support.store import Journal, sweep

W = TypeVar("W")
if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    R = TypeVar("R", bound=DataclassInstance)
else:
    R = TypeVar("R")


def product(world: Callable[..., W], *axes: Iterable[Any]) -> tuple[W, ...]:
    """Every combination of the axes' values as a world, the first axis varying slowest.

    Raises
    ------
    UserError
        If an axis is empty, or a value is out of range.
    """
    worlds = tuple(world(*values) for values in itertools.product(*axes))
    if not worlds:
        raise UserError("grid: an axis has no value; give each at least one")
    return worlds


def measure(
    worlds: Sequence[W],
    job: Callable[[W], R],
    kind: type[R],
    *,
    workers: Workers | None = None,
    journal: Journal | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[R, ...]:
    """Measure every world.

    Parameters
    ----------
    worlds : sequence
        With texts of their own, which are the names in the journal.
    job : callable
        Measures one world; picklable.
    kind : type
        What `job` returns: a dataclass that is made again from its values in JSON.
    workers : Workers, optional
        Default: this process.
    journal : Journal, optional
        Where finished worlds are kept, opened with all that they have in common.
    advance : callable
        Called with the number of worlds done since the last call.

    Returns
    -------
    tuple
        In the order of the worlds.

    Raises
    ------
    UserError
        If two worlds have the same text; or as `stopping.support.store.sweep`.
    """
    work = {str(world): partial(job, world) for world in worlds}
    if len(work) < len(worlds):
        raise UserError("grid: the same world twice")
    found = sweep(work, kind, workers=workers, journal=journal, advance=advance)
    return tuple(found[str(world)] for world in worlds)
