"""Nothing that Hypothesis does here hangs on the speed of the machine: a racing clock shows it."""

import itertools
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stopping.testing import check, worlds
from tests.conformance import right_numpy
from tests.conformance.wrong.at_random import raises_now_and_then
from tests.conformance.wrong.selection import K, non_strict

PAGES = Path(__file__).parents[2] / "book" / "pages"


@pytest.fixture
def racing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at a clock takes two seconds, as if the machine were a million times slower."""
    ticks = itertools.count(step=2)
    for clock in ("perf_counter", "monotonic", "time"):
        monkeypatch.setattr(time, clock, lambda: float(next(ticks)))


@pytest.mark.slow
@pytest.mark.usefixtures("racing")
def test_the_suite_finds_the_same() -> None:
    for function, found in (
        (right_numpy.select, []),
        (non_strict, ["ties"]),
        (raises_now_and_then, ["answers"]),
    ):
        report = check(function, K=K, examples=25)
        assert [failure.requirement for failure in report.failures] == found


@pytest.mark.usefixtures("racing")
@pytest.mark.parametrize("profile", ["dev", "ci", "thorough"])
def test_so_do_property_tests(profile: str) -> None:
    @settings(settings.get_profile(profile), max_examples=50)
    @given(worlds(), st.data())
    def holds(world: Any, data: st.DataObject) -> None:
        data.draw(st.lists(st.floats()))

    holds()


def cells(page: Path) -> list[str]:
    """The code cells of a page that hold property tests, each with its imports."""
    found = re.findall(r"```\{code-cell\} python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return [cell for cell in found if "@given" in cell]


@pytest.mark.usefixtures("racing")
def test_so_do_the_pages_of_the_book() -> None:
    found = [cell for page in PAGES.glob("*.md") for cell in cells(page)]
    assert found
    settings.register_profile("of the tests", settings())
    settings.load_profile("default")  # pages are built without a profile of their own
    try:
        for cell in found:
            exec("from stopping.rules import Search\n" + cell, {})
    finally:
        settings.load_profile("of the tests")
