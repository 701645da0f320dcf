"""The strategies give what they promise, and reach the cases that they are there for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from stopping.model import assumptions
from stopping.testing import (
    EPS_MAX,
    World,
    descents,
    entropies,
    logits,
    masked,
    near_ties,
    peaked_logits,
    scales,
    worlds,
)
from stopping.testing.arrays import Dtype, rounded
from stopping.testing.reference import algorithm_1, search, shannon_entropy
from stopping.types import FloatArray

ASSUMPTIONS: dict[str, Callable[[World], Any]] = {
    "refined": lambda w: assumptions.refinement(w.paths).all(),
    "bounded": lambda w: assumptions.bounded_noise(w.paths, EPS_MAX).all(),
    "dominant": lambda w: assumptions.dominance(w.paths, EPS_MAX).all(),
    "windowed": lambda w: assumptions.window(w.paths).all(),
}
DROPPABLE = tuple(ASSUMPTIONS)


def exists(strategy: st.SearchStrategy[Any], condition: Callable[[Any], Any]) -> bool:
    # Not shrunk: that it exists is enough.
    effort = settings(max_examples=2000, derandomize=True, database=None, phases=(Phase.generate,))
    try:
        find(strategy, lambda case: bool(condition(case)), settings=effort)
    except NoSuchExample:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("grid", [None, 0.25])
@pytest.mark.parametrize("dropped", ["", *DROPPABLE])
def test_assumptions_are_demanded_or_dropped(dropped: str, grid: float | None) -> None:
    kept = {name: name != dropped for name in DROPPABLE}
    some = worlds(K=3, grid=grid, **kept)  # type: ignore[arg-type]

    @settings(max_examples=50)
    @given(some)
    def demanded(world: World) -> None:
        for name in DROPPABLE:
            if name != dropped:
                assert ASSUMPTIONS[name](world), name

    demanded()
    if dropped:
        assert exists(some, lambda world: not ASSUMPTIONS[dropped](world))


@given(worlds(layers=(2, 6), K=2, grid=0.25))
def test_worlds_on_a_grid_are_on_it(world: World) -> None:
    assert (world.paths.x % 0.25 == 0).all()
    assert 2 <= world.paths.layers <= 6
    assert world.paths.K <= 2


def test_worlds_reach_their_corners() -> None:
    assert exists(worlds(), lambda w: w.paths.layers == 1)
    assert exists(worlds(), lambda w: w.paths.layers > 3 and w.paths.turning[0] == 0)
    assert exists(worlds(), lambda w: w.paths.layers > 3 and w.paths.turning[0] == 3)
    # T2 is nearly attained: the noise is the worst.
    assert exists(worlds(), lambda w: w.paths.excess(search(w.paths.x, 99))[0] > 1.98 * EPS_MAX)


@pytest.mark.parametrize(
    "condition",
    [
        lambda x: len(x) == 0,
        lambda x: x.shape == (1, 1),
        lambda x: x.shape[1] == 12,
        lambda x: (np.diff(x) == 0).any(),
        lambda x: (np.diff(x) == 0).sum() > 3,
        lambda x: ((np.diff(x) != 0) & (np.abs(np.diff(x)) < 1e-6)).any(),
        lambda x: (rounded(x, "bfloat16")[:, 1:] == rounded(x, "bfloat16")[:, :-1]).any(),
        lambda x: ((x > 0) & (x < 1e-200)).any(),
        lambda x: (x > 11.9).any(),
    ],
)
def test_entropies_reach(condition: Callable[[FloatArray], Any]) -> None:
    assert exists(entropies(), condition)


@given(st.integers(0, 5), st.booleans(), st.data())
def test_descents_fall_for_as_many_layers_as_asked(
    depth: int, tie: bool, data: st.DataObject
) -> None:
    x = data.draw(descents((depth, depth), (7, 9), tie=tie))
    last = len(x) - 1
    assert algorithm_1(x, K=last) == last - depth
    assert (x[last - depth - 1] == x[last - depth]) == tie
    assert (rounded(x, "float16") == x).all()
    differences = np.diff(x)[: last - depth - 1]
    assert (differences != 0).all()


@given(st.sampled_from(("float32", "bfloat16", "float16")), st.data())
def test_near_ties_are_next_to_each_other(dtype: Dtype, data: st.DataObject) -> None:
    x = data.draw(near_ties((0, 5), (6, 8), dtype))
    assert (rounded(x, dtype) == x).all()
    differences = np.abs(np.diff(x)) / x[1:]
    assert (differences > 0).all()
    assert differences.max() <= 2 * float({"float32": 2**-23, "bfloat16": 2**-7}.get(dtype, 2**-10))


@given(scales((0, 5), (6, 40)))
def test_scales_are_told_apart_in_float32(x: FloatArray) -> None:
    single = x.astype(np.float32)
    assert (single == x).all()
    assert (single > np.finfo(np.float32).smallest_normal).all()
    assert (np.diff(single) != 0).all()


def test_scales_reach_both_ends() -> None:
    assert exists(scales((0, 5), (6, 8)), lambda x: x.max() > 1e30)
    assert exists(scales((0, 5), (6, 8)), lambda x: x.min() < 1e-30)


@given(logits(tokens=(1, 3)), st.sampled_from(("bfloat16", "float16", "float32")))
def test_logits_are_exact_in_half_precision(z: FloatArray, dtype: Dtype) -> None:
    assert (rounded(z, dtype) == z).all()


@given(masked(logits(tokens=(1, 3))))
def test_masked_rows_keep_a_word_and_lose_one(z: FloatArray) -> None:
    assert np.isneginf(z).any(axis=1).all()
    assert np.isfinite(z).any(axis=1).all()


@given(peaked_logits(gap=(20, 10_000)))
def test_peaked_rows_have_hardly_any_entropy(z: FloatArray) -> None:
    assert z.max() == 0
    # 15 words at e^-20 with 20 nats each, and the same again for log s.
    assert 0 <= shannon_entropy(z)[0] < 15 * np.exp(-20) * 22


def test_the_reference_entropy_is_scipys() -> None:
    from scipy import special, stats

    z = np.random.default_rng(0).normal(0, 5, (20, 300))
    z[:, :30] = -np.inf
    theirs = stats.entropy(special.softmax(z, axis=1), axis=1)
    # Sums of 300 terms below 6 nats in float64.
    assert np.abs(shannon_entropy(z) - theirs).max() < 300 * 6 * np.finfo(float).eps
