"""Requirements can be chosen and left out, by name or pattern, wherever a suite is run."""

import json
from typing import Any

import numpy as np
import pytest

from stopping.errors import UserError
from stopping.testing import SELECTION, Report, Status, check, conformance_tests
from tests.conformance.test_interface import run
from tests.conformance.wrong.selection import K, nan_swallowed, state_leaking

NAMES = tuple(requirement.name for requirement in SELECTION)
TARGET = ("tests.conformance.wrong.selection:nan_swallowed", "--kind", "selection")
FEW = ("--window", str(K), "--examples", "5")


def checked(**choice: Any) -> Report:
    return check(nan_swallowed, K=K, examples=5, **choice)


@pytest.mark.slow
def test_who_promised_nothing_about_nan_passes_the_rest() -> None:
    assert [failure.requirement for failure in checked().failures] == ["nan"]
    rest = checked(without=["nan"])
    assert rest.passed
    assert rest.left_out == ("nan",)
    assert {result.requirement for result in rest.results} == {*NAMES} - {"nan"}


def test_patterns_choose_and_leave_out() -> None:
    windows = checked(only=["*window", "stops"])
    assert [result.requirement for result in windows.results] == ["stops", "window", "full-window"]
    assert {*windows.left_out} == {*NAMES} - {"stops", "window", "full-window"}
    (alone,) = checked(only="*window", without=iter(["full-*"])).results
    assert alone.requirement == "window"


@pytest.mark.slow
def test_nothing_presupposes_what_is_left_out() -> None:
    leaking = check(state_leaking, K=K, examples=5)
    assert sum(result.note.startswith("presupposes") for result in leaking.results) > 5
    without = check(state_leaking, K=K, examples=5, without=["repeatable"])
    assert not any("repeatable" in result.note for result in without.results)


@pytest.mark.parametrize("choice", [{"only": ["nans"]}, {"without": ["nans"]}, {"without": "x*"}])
def test_unknown_names_are_told_with_those_that_there_are(choice: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"no requirement '.*' for selection; choose from .*nan"):
        checked(**choice)


def test_something_must_be_left() -> None:
    with pytest.raises(UserError, match="no requirement is left"):
        checked(only=["nan"], without=["n*"])


def test_the_command_says_how_many_were_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TARGET, *FEW) == 1
    assert "left out" not in capsys.readouterr().out
    assert run(*TARGET, *FEW, "--without", "nan") == 0
    assert "15 passed, 0 failed, 2 not asked, 1 left out" in capsys.readouterr().out
    assert run(*TARGET, *FEW, "--only", "*window", "--without", "full*", "--json") == 0
    report = json.loads(capsys.readouterr().out)["report"]
    assert [result["requirement"] for result in report["results"]] == ["window"]
    assert len(report["left_out"]) == len(NAMES) - 1
    assert run(*TARGET, "--without", "nans") == 2
    assert "no requirement 'nans'" in capsys.readouterr().err


def test_the_pytest_entry_skips_what_is_left_out() -> None:
    test = conformance_tests(nan_swallowed, "selection", K=K, examples=5, without=["nan"])
    with pytest.raises(pytest.skip.Exception, match="left out"):
        test("nan")
    test("ties")
    alone = conformance_tests(
        lambda x: np.zeros(len(x)), "selection", K=K, examples=5, only=["ties"]
    )
    with pytest.raises(pytest.skip.Exception, match="left out"):
        alone("answers")
    with pytest.raises(AssertionError, match="ties"):
        alone("ties")
    with pytest.raises(UserError, match="no requirement 'nans'"):
        conformance_tests(nan_swallowed, "selection", K=K, without=["nans"])


def test_what_is_not_asked_is_not_left_out() -> None:
    report = checked()
    assert report.left_out == ()
    assert sum(result.status is Status.NOT_ASKED for result in report.results) == 2
