"""Known constants of optimal stopping: each from a derivation of its own, exact or in a bracket."""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopping.errors import UserError
from stopping.optimal.chain import solve
from stopping.optimal.classics import (
    expected_rank,
    expected_rank_limit,
    full_information_limit,
    moser,
    moser_value,
    secretary_success,
)
from stopping.optimal.prophets import (
    Offer,
    extremal_offer,
    extremal_pair,
    prophet_constant,
    prophet_share,
    stopping_and_prophet,
)
from stopping.optimal.robbins import after_first, last_two, robbins

ERRORS = 4.0
"""Standard errors: each check errs with probability 6e-5."""


def test_constants_of_ranks() -> None:
    assert expected_rank(1) == 1
    assert expected_rank(10) == Fraction(3223, 1260)
    assert expected_rank(50) < expected_rank(100) < Fraction(38695, 10000)
    assert expected_rank_limit() == pytest.approx(3.8695, abs=5e-5)
    assert full_information_limit() == pytest.approx(0.580164, abs=5e-7)


def test_secretary_and_moser() -> None:
    """The best cutoff's chance falls to 1/e; two and three uniform offers by hand."""
    chances = [max(secretary_success(n, r) for r in range(1, n + 1)) for n in (10, 100, 1000)]
    assert chances == sorted(chances, reverse=True)
    assert 1 / math.e < chances[-1] < 1 / math.e + 1e-3
    assert (moser_value(2), moser_value(3)) == (3 / 8, 39 / 128)
    assert solve(moser(3, 1000)).value == pytest.approx(39 / 128, abs=1e-6)


def test_expected_rank_is_what_its_rule_meets() -> None:
    """Three candidates, all orders: no rule on relative ranks does better, one does as well."""
    orders = list(permutations((1, 2, 3)))
    means = []
    for first, best, second in product((True, False), repeat=3):
        ranks = []
        for order in orders:
            stops = best if order[1] < order[0] else second
            ranks.append(order[0] if first else order[1] if stops else order[2])
        means.append(Fraction(sum(ranks), len(orders)))
    assert min(means) == expected_rank(3)


VALUES = st.fractions(0, 10, max_denominator=20)
WEIGHTS = st.integers(1, 20)


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    """One distribution with a few rational values."""
    values = draw(st.lists(VALUES, min_size=1, max_size=4, unique=True))
    weights = [draw(WEIGHTS) for _ in values]
    return [(x, Fraction(w, sum(weights))) for x, w in zip(values, weights, strict=True)]


@given(st.lists(offers(), min_size=1, max_size=3))
def test_stopping_and_hindsight_by_enumeration(several: list[Offer]) -> None:
    """Each outcome in turn; and stopping gets more than half of what hindsight gets."""

    def keep(values: tuple[Fraction, ...], ahead: list[Fraction]) -> Fraction:
        return next(x for x, later in zip(values, ahead, strict=True) if x >= later)

    ahead = [stopping_and_prophet(several[k:])[0] for k in range(1, len(several))]
    met = best = Fraction(0)
    for outcome in product(*several):
        probability = math.prod((p for _, p in outcome), start=Fraction(1))
        values = tuple(x for x, _ in outcome)
        met += probability * keep(values, [*ahead, Fraction(0)])
        best += probability * max(values)
    assert stopping_and_prophet(several) == (met, best)
    assert best < 2 * met or best == 0


def test_no_factor_below_two_will_do() -> None:
    """The negative control of the bound: two offers, exactly `2 - p` apart."""
    for rare in (Fraction(1), Fraction(1, 10), Fraction(1, 10**6)):
        assert stopping_and_prophet(extremal_pair(rare)) == (1, 2 - rare)


@given(offers(), st.integers(1, 6))
def test_offers_of_one_kind_keep_their_share(offer: Offer, n: int) -> None:
    value, best = stopping_and_prophet([offer] * n)
    assert value >= best * Fraction(prophet_share(n)) - Fraction(1, 10**12)


@pytest.mark.parametrize("n", [2, 3, 10, 50])
def test_some_offers_of_one_kind_get_no_more(n: int) -> None:
    """The bound is attained in the limit; offers of different kinds break it."""
    value, best = stopping_and_prophet([extremal_offer(n, 1e-6)] * n)
    assert value / best == pytest.approx(prophet_share(n), abs=1e-6)
    one, two = stopping_and_prophet(extremal_pair(Fraction(1, 100)))
    assert one / two < prophet_share(n) - 0.2


def test_the_prophets_constant_in_its_bracket() -> None:
    low, high = prophet_constant()
    assert high - low < 1e-5
    assert low == pytest.approx(0.7454, abs=5e-5)
    shares = [prophet_share(n) for n in (1, 2, 3, 10, 100, 1000)]
    assert shares[:2] == pytest.approx([1, (2 + math.sqrt(2)) / 4])
    assert shares == sorted(shares, reverse=True)
    assert high < shares[-1] < high + 1e-3
    # A coarser bracket holds the finer one.
    coarse = prophet_constant(1000)
    assert coarse[0] < low < high < coarse[1]


def by_cells(n: int, cells: int, tie: float) -> float:
    """Robbins' problem for one who sees cells only; an offer beside another counts `tie` to it.

    At 1/2 he sees less than the offers, so loses more; at 0 he is given something.
    """

    @cache
    def after(past: tuple[int, ...]) -> float:
        left, total = n - len(past) - 1, 0.0
        for x in range(cells):
            rank = 1 + sum((p < x) + tie * (p == x) for p in past) + left * (x + tie) / cells
            total += min(rank, after(tuple(sorted((*past, x))))) if left else rank
        return total / cells

    return after(())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "published", "cells"), [(1, 1.0, 8), (2, 1.25, 40), (3, 1.3915, 40), (4, 1.4932, 16)]
)
def test_robbins_problem(n: int, published: float, cells: int) -> None:
    found = robbins(n, 4000)
    assert found.low <= found.high < found.low + 1e-4
    # Published figures are cut, not rounded.
    assert published - 1e-12 < found.high
    assert found.low < published + 1e-4
    assert by_cells(n, cells, 0.0) < found.low + 1e-12
    assert found.high < by_cells(n, cells, 0.5) + 1e-4


def test_less_is_left_to_lose_after_a_larger_offer() -> None:
    """What the bracket of Robbins' problem rests on."""
    x = np.linspace(0, 1, 200)
    for n in (2, 3, 4):
        assert (np.diff(after_first(n, x)) <= 1e-12).all()
    # The cost ahead is an integral; here by its definition.
    y = (np.arange(100_000) + 0.5) / 100_000
    for a in (0.1, 0.4, 0.8):
        ahead = last_two(np.column_stack([np.full_like(y, a), y]))
        expected = np.minimum(1 + (a < y) + 2 * y, ahead).mean()
        assert after_first(4, np.array([a])) == pytest.approx(expected, abs=1e-6)


def ranks_met(first: float, n: int = 200_000) -> np.ndarray:
    """Ranks of the offers kept of four, by the solved rule but for its first threshold."""
    x = np.random.default_rng(0).random((n, 4))
    rows, column = np.arange(n), np.full(n, 3)
    below = (x[:, :, None] < x[:, None, :]).cumsum(axis=1)
    third = 1 + below[:, 1, 2] + x[:, 2] <= 4 - x[:, :3].sum(axis=1)
    second = 1 + below[:, 0, 1] + 2 * x[:, 1] <= last_two(x[:, :2])
    for k, stops in ((2, third), (1, second), (0, x[:, 0] <= first)):
        column[stops] = k
    return 1 + (x < x[rows, column, None]).sum(axis=1)


@pytest.mark.slow
def test_ranks_met_by_robbins_rule() -> None:
    """The rule's mean rank lies in the bracket; with another first threshold it is worse."""
    found = robbins(4, 4000)
    ranks, worse = ranks_met(found.first), ranks_met(2 * found.first)
    error = ERRORS * ranks.std() / math.sqrt(len(ranks))
    assert found.low - error < ranks.mean() < found.high + error
    assert worse.mean() > found.high + error


BAD: dict[str, Callable[[], object]] = {
    "candidate": lambda: expected_rank(0),
    "needs an offer": lambda: stopping_and_prophet([]),
    "at least, got 0": lambda: prophet_share(0),
    "negative or not finite": lambda: stopping_and_prophet([[(-1.0, 1.0)]]),
    "offer 1 has a value": lambda: stopping_and_prophet([[(1.0, 1.0)], [(math.nan, 1.0)]]),
    "add up to 1": lambda: stopping_and_prophet([[(1.0, 0.5)]]),
    "offer 0 do not": lambda: stopping_and_prophet([[(1.0, 1.5), (2.0, -0.5)]]),
    "probability": lambda: extremal_pair(Fraction(0)),
    r"in \(0, 1\)": lambda: extremal_offer(3, 1.0),
    "from 1 to 4": lambda: robbins(5),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message: str) -> None:
    with pytest.raises(UserError, match=message):
        BAD[message]()
