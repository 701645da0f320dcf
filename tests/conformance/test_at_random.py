"""What is wrong at random is found, whatever it draws from, and called so; nothing else changes."""

import contextlib
import io
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from stopping.testing import Kind, check, suite
from tests.conformance import right_numpy
from tests.conformance.wrong import Wrong
from tests.conformance.wrong import at_random as wrong
from tests.conformance.wrong.selection import K, non_strict, scan

GLOBAL = ("random", "numpy-legacy", "torch", "registered-with-hypothesis")


@pytest.mark.slow
@pytest.mark.parametrize("source", wrong.SOURCES)
def test_an_error_at_random_is_found_whatever_it_is_drawn_from(source: str) -> None:
    report = check(wrong.errs(wrong.SOURCES[source]), K=K, examples=20)
    (failure,) = report.failures
    assert failure.requirement == "deterministic"
    found = re.fullmatch(
        r"not deterministic: another answer on (\d+) of 10 calls with equal input", failure.chance
    )
    assert found
    assert 1 <= int(found[1]) <= 9
    assert failure.expected != failure.actual
    assert failure.chance in str(failure)


@pytest.mark.slow
@pytest.mark.parametrize("case", wrong.WRONG, ids=str)
def test_a_failure_by_chance_is_called_so_by_one_requirement(case: Wrong) -> None:
    report = suite(case.function, case.kind, **case.options).report()
    (failure,) = report.failures
    assert failure.requirement == case.caught_by
    assert re.match(r"not deterministic: .* \d+ of \d+ calls with equal input$", failure.chance)
    assert "for _ in range(50): print(" in failure.code


@pytest.mark.slow
def test_the_printed_code_shows_different_answers() -> None:
    (failure,) = check(wrong.noisy_entropy, "entropy").failures
    out = io.StringIO()
    with contextlib.redirect_stdout(out), kept():
        random.seed(0)
        exec(failure.code, {})
    assert len(set(out.getvalue().splitlines())) == 2


def test_a_failure_that_is_always_there_is_not_called_random() -> None:
    (failure,) = check(non_strict, K=K, examples=20).failures
    assert failure.chance == ""
    assert "not deterministic" not in str(failure)


@pytest.mark.slow
@pytest.mark.parametrize("source", GLOBAL)
def test_reports_repeat_whatever_the_state_of_the_global_generators(source: str) -> None:
    function = wrong.errs(wrong.SOURCES[source])
    reports = []
    with kept():
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            reports.append(check(function, K=K, seed=3, examples=30).failures)
    assert reports[0] == reports[1]


def draws() -> tuple[float, ...]:
    """What every global generator would give next."""
    return tuple(
        source(None) for name, source in wrong.SOURCES.items() if name in GLOBAL for _ in range(2)
    )


@contextmanager
def kept() -> Iterator[None]:
    """Give the generators of this process their states back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    registered = wrong.REGISTERED.getstate()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
        wrong.REGISTERED.setstate(registered)


def greedy_drawer(x: np.ndarray) -> np.ndarray:
    """Right, but draws from all generators, and seeds them."""
    draws()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    return scan(x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (greedy_drawer, "selection"),
        (non_strict, "selection"),
        (wrong.errs(wrong.SOURCES["random"]), "selection"),
        (right_numpy.entropy, "entropy"),
        (wrong.forgetful_decode, "decoder"),
    ],
)
def test_the_users_own_seeds_are_as_they_were(function: Callable[..., Any], kind: Kind) -> None:
    with kept():
        random.seed(11)
        np.random.seed(12)  # noqa: NPY002
        torch.manual_seed(13)
        with kept():
            expected = draws()
        suite(function, kind, examples=3).report()
        assert draws() == expected
