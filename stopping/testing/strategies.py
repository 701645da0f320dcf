"""Hypothesis strategies: entropy traces, whole worlds, rows of logits.

Use them to test code of your own against the theory:

    @given(worlds(dominant=False))
    def test_T4(world): ...

Worlds are in units of the noise bound, `eps_max = 1`; traces and logits are in nats. Arrays are
float64; those on a grid are exact in lower precision as well, so that a verdict never hangs on
rounding.
"""

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from stopping.model.noise import worst_noise
from stopping.model.paths import Paths
from stopping.testing.arrays import Dtype, rounded
from stopping.types import FloatArray

EPS_MAX = 1.0
"""The theory has one scale; worlds are in units of the noise bound."""

GRID = 1 / 16
"""Grid of `descents`, nats: half precision still tells neighbours apart below 8 nats."""

UNIT: dict[Dtype, float] = {
    "float64": 2.0**-52,
    "float32": 2.0**-23,
    "bfloat16": 2.0**-7,
    "float16": 2.0**-10,
}
"""Unit in the last place of 1."""

Range = tuple[int, int]
Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """One token and the tolerance that its rises dominate."""

    paths: Paths
    tau: float


@st.composite
def worlds(
    draw: st.DrawFn,
    tau: float = 0.0,
    dominance: float = 2.0,
    *,
    layers: Range = (1, 9),
    K: int | None = None,
    refined: bool = True,
    bounded: bool = True,
    dominant: bool = True,
    windowed: bool = True,
    grid: float | None = None,
) -> World:
    """Worlds in which each assumption is demanded or dropped.

    The noise is arbitrary, at the corners of its bound, or the worst for the search.

    Parameters
    ----------
    tau, dominance : float
        Rises exceed `dominance + tau` in units of `eps_max`; the theorems ask for 2.
    layers : (least, most)
    K : int, optional
        Steps back that the window allows; default the whole stack.
    refined, bounded, dominant, windowed : bool
        Demand A1 (no rise up to `V*`), A2 (`|eps| <= 1`), A3 (rises above `dominance + tau`), A4
        (`V*` in the window). What is dropped may fail or hold: A1 dropped lets `G` rise before
        `V*`, A2 dropped lets the noise reach 3, A3 dropped lets the late rises be as small as the
        grid or 1e-9, A4 dropped lets `V*` lie below the window.
    grid : float, optional
        Let every entropy be a multiple of it.
    """
    count = draw(st.integers(*layers))
    l_min = 0 if K is None else max(0, count - 1 - K)
    turning = draw(st.integers(l_min if windowed else 0, count - 1))
    drift, excess = _drift(grid, refined), _excess(grid)
    least = dominance + tau if dominant else 0.0
    steps = [draw(excess) + least if layer > turning else draw(drift) for layer in range(1, count)]
    G = np.concatenate([[0.0], np.cumsum(steps)])[None]
    index = np.array([turning])
    bound = EPS_MAX if bounded else 3 * EPS_MAX
    kind = draw(st.sampled_from(("any", "corner", "worst")))
    if kind == "worst" and grid is None:
        noise = worst_noise(G, index, np.full(count, bound), l_min, tau)
    elif kind == "any":
        noise = np.array([draw(_many(_errors(bound, grid), count))])
    else:
        noise = bound * np.array([draw(_many(_SIGNS, count))])
    return World(Paths.from_latent(G, noise, index, l_min), tau)


# Strategies that are drawn from again and again are made once: making and checking one takes
# longer than drawing from it.

_SIGNS = st.sampled_from((-1.0, 1.0))


@cache
def _many(values: st.SearchStrategy[Value], count: int) -> st.SearchStrategy[list[Value]]:
    return st.lists(values, min_size=count, max_size=count)


@cache
def _errors(bound: float, grid: float | None) -> st.SearchStrategy[float]:
    if grid is None:
        return st.floats(-bound, bound)
    return st.integers(-round(bound / grid), round(bound / grid)).map(lambda k: k * grid)


@cache
def _drift(grid: float | None, refined: bool) -> st.SearchStrategy[float]:
    falls = _falls(grid)
    drift = falls.map(lambda fall: -fall)
    return drift if refined else falls | drift


def _falls(grid: float | None) -> st.SearchStrategy[float]:
    if grid is not None:
        return st.integers(0, round(4 * EPS_MAX / grid)).map(lambda k: k * grid)
    return st.one_of(st.just(0.0), st.floats(1e-6, 0.3), st.floats(1.9, 2.0), st.floats(0.3, 8.0))


@cache
def _excess(grid: float | None) -> st.SearchStrategy[float]:
    if grid is not None:
        return st.integers(1, round(2 * EPS_MAX / grid)).map(lambda k: k * grid)
    return st.one_of(st.just(1e-9), st.floats(1e-9, 3.0))


def entropies(
    min_layers: int = 1, max_layers: int = 12, max_tokens: int = 6
) -> st.SearchStrategy[FloatArray]:
    """Batches `(n, layers)` of entropies, `n` from 0, with ties, plateaus and near-ties.

    Among the values are 0, the tiniest and some that differ in the last places of float64, float32
    and bfloat16 only.
    """
    close = (1.0, 1.0 + 2**-40, 1.0 + 2**-23, 1.0 + 2**-7, 2.0)
    value = st.one_of(st.sampled_from((0.0, 1e-300, *close)), st.floats(0.0, 12.0))
    return st.tuples(st.integers(0, max_tokens), st.integers(min_layers, max_layers)).flatmap(
        lambda shape: st.lists(
            st.lists(value, min_size=shape[1], max_size=shape[1]),
            min_size=shape[0],
            max_size=shape[0],
        ).map(lambda rows: np.array(rows, dtype=float).reshape(shape))
    )


@st.composite
def ranks(
    draw: st.DrawFn, depth: Range, layers: Range, *, tie: bool = False, reach: int = 8
) -> NDArray[np.int64]:
    """Whole numbers, one per layer, that fall for exactly `depth` steps back from the final layer.

    A search with a window deep enough stops after them: at the first layer, or since the next
    number is higher, or with `tie` equal. Further down anything follows, but neighbours differ.
    The least number is 0.

    Parameters
    ----------
    depth, layers : (least, most)
        Where the two disagree, the depth is cut to `layers - 1`.
    reach : int
        Largest step between neighbours.
    """
    count = draw(st.integers(*layers))
    steps_back = count - 1
    most = min(depth[1], steps_back - tie)
    deep = draw(st.integers(min(depth[0], most), most))
    drawn = draw(whole_numbers(steps_back, 2 * reach))
    # 1, -1, 2, -2, ...: a step of either sign, the simplest first.
    back = (drawn // 2 + 1) * (1 - 2 * (drawn % 2))
    back[: deep + 1] = np.abs(back[: deep + 1])
    back[:deep] *= -1
    if tie:
        back[deep] = 0
    return from_steps_back(back)


@cache
def whole_numbers(size: int, below: int) -> st.SearchStrategy[NDArray[np.int64]]:
    """So many of 0, ..., `below - 1 < 256` in one draw: one for each costs ten times as much."""
    return st.binary(min_size=size, max_size=size).map(
        lambda drawn: np.frombuffer(drawn, np.uint8).astype(np.int64) % below
    )


@cache
def signed_numbers(size: int, most: int) -> st.SearchStrategy[NDArray[np.int64]]:
    """So many of 0, -1, 1, -2, ..., `most < 128`, the simplest first."""
    return whole_numbers(size, 2 * most + 1).map(lambda k: (k + 1) // 2 * (1 - 2 * (k % 2)))


def from_steps_back(back: ArrayLike) -> NDArray[np.int64]:
    """Numbers whose increments, read from the final layer backwards, are `back`; the least is 0."""
    numbers = np.concatenate([[0], np.cumsum(back, dtype=np.int64)]).astype(np.int64)[::-1]
    lowered: NDArray[np.int64] = numbers - numbers.min()
    return lowered


def on_grid(k: NDArray[np.int64]) -> FloatArray:
    """Entropies of ranks: the least is one grid step, so none is 0."""
    return (k.astype(np.float64) + 1.0) * GRID


def descents(depth: Range, layers: Range, *, tie: bool = False) -> st.SearchStrategy[FloatArray]:
    """Traces `(layers,)` in nats, on `GRID`, on which the search steps back `depth` layers.

    See `ranks`.
    """
    return ranks(depth, layers, tie=tie).map(on_grid)


def near_ties(
    depth: Range, layers: Range, dtype: Dtype = "float32"
) -> st.SearchStrategy[FloatArray]:
    """Like `descents`, but neighbours differ by one or two units in the last place of `dtype`."""

    def close(start: float, k: NDArray[np.int64]) -> FloatArray:
        # Below the next power of two, the numbers of a precision are evenly spaced.
        return rounded(start * (1.0 + k * UNIT[dtype]), dtype)

    # Twelve layers span 22 units; bfloat16 has 127 of them between powers of two.
    return st.builds(close, st.sampled_from((1.0, 0.125, 4.0)), ranks(depth, layers, reach=2))


def scales(depth: Range, layers: Range) -> st.SearchStrategy[FloatArray]:
    """Like `descents`, but neighbours differ by factors of 16 and more, within 1e-35 to 1e+35."""

    def spread(eighths: int, k: NDArray[np.int64]) -> FloatArray:
        # From 2^-116 to 2^116, within float32's normal numbers.
        step = max(1, 232 // max(58, int(k.max())))
        room = 232 - step * int(k.max())
        return np.ldexp(1.0, step * k - 116 + room * eighths // 8)

    return st.builds(spread, st.integers(0, 8), ranks(depth, layers, reach=2))


def logits(
    vocabulary: Range = (2, 16), *, tokens: Range = (1, 1), scale: int = 4
) -> st.SearchStrategy[FloatArray]:
    """Rows of logits `(n, vocabulary)` on a grid of 1/4, at most `scale` either side of 0.

    Whole small numbers, so that they are exact in float16 and bfloat16; among them are uniform
    rows, ties and rows with a token that stands out.
    """
    return st.tuples(st.integers(*tokens), st.integers(*vocabulary)).flatmap(
        lambda shape: _quarters(shape, 4 * scale)
    )


@cache
def _quarters(shape: tuple[int, int], most: int) -> st.SearchStrategy[FloatArray]:
    return signed_numbers(shape[0] * shape[1], most).map(lambda k: (k / 4).reshape(shape))


@st.composite
def peaked_logits(
    draw: st.DrawFn, vocabulary: Range = (2, 16), gap: Range = (8, 10_000)
) -> FloatArray:
    """One row `(1, vocabulary)` whose best token, at 0, leads all others by at least `gap`."""
    count = draw(st.integers(*vocabulary))
    below = draw(st.lists(st.integers(*gap), min_size=count, max_size=count))
    row = -np.array(below, dtype=float)
    row[draw(st.integers(0, count - 1))] = 0.0
    return row[None]


@st.composite
def masked(draw: st.DrawFn, rows: st.SearchStrategy[FloatArray]) -> FloatArray:
    """Rows of logits with at least one token at -inf, and at least one that is not."""
    z = draw(rows).copy()
    for row in z:
        kept = draw(st.integers(0, len(row) - 1))
        out = draw(_many(st.booleans(), len(row)))
        out[(kept + 1) % len(row)] = True
        out[kept] = False
        row[out] = -np.inf
    return z
