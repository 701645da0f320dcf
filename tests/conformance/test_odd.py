"""Functions and modules that are odd in any way: one clear line, no traceback, 80 columns."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stopping.errors import UserError
from stopping.testing import Kind, check, suite
from tests.conformance.test_interface import run
from tests.conformance.wrong.selection import K, scan


class Evil:
    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise OSError("no")


async def waits(x: np.ndarray) -> np.ndarray:
    return scan(x)


def exits_on_deep_stacks(x: np.ndarray) -> np.ndarray:
    if x.shape[1] < K + 4:
        sys.exit(0)
    return scan(x)


def recurses_on_deep_stacks(x: np.ndarray) -> np.ndarray:
    return scan(x) if x.shape[1] == K + 4 else recurses_on_deep_stacks(x)


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def raises_what_has_no_text(x: np.ndarray) -> np.ndarray:
    if x.shape[1] < K + 4:
        raise Mute
    return scan(x)


def raises_a_long_story(x: np.ndarray) -> np.ndarray:
    if x.shape[1] < K + 4:
        raise RuntimeError("word " * 1000 + "\nsecond line")
    return scan(x)


@pytest.mark.parametrize(
    ("function", "actual"),
    [
        (lambda x: None, "gave back NoneType, not numbers"),
        (lambda x: "abc", "gave back str, not numbers"),
        (lambda x: {"layer": 1}, "gave back dict, not numbers"),
        (lambda x: [[1], [1, 2]], "gave back list, not numbers"),
        (lambda x: (layer for layer in scan(x)), "gave back generator, not numbers"),
        (lambda x: Evil(), "gave back Evil, not numbers"),
        (waits, "gave back coroutine, not numbers"),
        (lambda x: np.full(len(x), np.nan), "gave back float64 of shape (2,), not whole numbers"),
        (lambda x: np.full(len(x), np.inf), "gave back float64 of shape (2,), not whole numbers"),
        (lambda x: scan(x).astype(complex), "gave back complex128 of shape (2,), not whole"),
        (lambda x: scan(x) > 0, "gave back bool of shape (2,), not whole numbers"),
        (lambda x: np.full(len(x), 2**63, np.uint64), "gave back index [9223372036854775808,"),
        (lambda x: scan(x)[:0], "gave back shape (0,) for 2 token(s), expected (2,)"),
        (lambda x: scan(x) - 9, "gave back index [-"),
        (exits_on_deep_stacks, "raised SystemExit: 0"),
        (recurses_on_deep_stacks, "raised RecursionError: maximum recursion depth exceeded"),
        (raises_what_has_no_text, "raised Mute"),
        (raises_a_long_story, "raised RuntimeError: word word"),
    ],
)
def test_an_odd_answer_is_a_failure_in_one_line(
    function: Callable[[Any], Any], actual: str
) -> None:
    report = check(function, K=K, examples=10)
    failure = report.failures[0]
    assert failure.requirement == "answers"
    assert failure.actual.startswith(actual)
    assert "\n" not in failure.actual
    assert len(failure.actual) < 300
    # Asked alone it is told just as plainly: infinity and NaN are no layers anywhere.
    alone = check(function, K=K, examples=10, only=["stops"])
    assert alone.failures
    assert "\n" not in alone.failures[0].actual


@pytest.mark.parametrize(("kind", "wanted"), [("entropy", "numbers"), ("decoder", "logits")])
def test_other_kinds_say_so_too(kind: Kind, wanted: str) -> None:
    function = (lambda z: None) if kind == "entropy" else (lambda states, head: None)
    report = suite(function, kind, examples=2).report()
    assert report.failures[0].actual == f"gave back NoneType, not {wanted}"


class Engine:
    def choose(self, x: np.ndarray) -> np.ndarray:
        return scan(x)[:, None]


def test_the_code_of_a_bound_method_does_not_call_it_on_its_class() -> None:
    (failure,) = check(Engine().choose, K=K, examples=5).failures
    assert "Engine.choose" not in failure.code
    assert "print(function(x))" in failure.code


def test_what_always_exits_cannot_be_used() -> None:
    with pytest.raises(UserError, match=r"trivial input.*raised SystemExit: 3"):
        check(lambda x: sys.exit(3))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "expected MODULE:FUNCTION"),
        (":", "expected MODULE:FUNCTION"),
        ("engine:", "expected MODULE:FUNCTION"),
        ("engine", "expected MODULE:FUNCTION"),
        (".engine:f", "expected MODULE:FUNCTION"),
        ("..:f", "expected MODULE:FUNCTION"),
        ("engine:f()", "expected MODULE:FUNCTION"),
        ("engine.py:f", "not a file: engine:f"),
        ("engine.py", "not a file: engine:FUNCTION"),
        ("src/engine.py:f", "not a file: engine:f --path src"),
        ("engine:f.g", "f has no 'g'"),
        ("nowhere.deep:f", "no module 'nowhere'; pass --path"),
        ("needy:f", "importing it failed: No module named 'absent_library'"),
        ("divides:f", "raised ZeroDivisionError: division by zero (divides.py, line 2)"),
        ("garbled:f", "raised SyntaxError"),
        ("leaves:f", "raised SystemExit: 5 (leaves.py, line 1)"),
        ("endless:f", "raised RecursionError"),
    ],
)
def test_targets_that_cannot_be_tested(
    target: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (
        ("engine", "def f(x):\n    return x\n"),
        ("needy", "import absent_library\n"),
        ("divides", "\n1 / 0\n"),
        ("garbled", "def f(:\n"),
        ("leaves", "raise SystemExit(5)\n"),
        ("endless", "def f():\n    f()\nf()\n"),
    ):
        (tmp_path / f"{name}.py").write_text(text)
    try:
        assert run(target, "--kind", "selection", "--path", str(tmp_path)) == 2
    finally:
        sys.modules.pop("engine", None)
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("tests.conformance.wrong.entropy:logarithm_in_place", ("entropy", "--framework", "torch")),
        ("tests.conformance.wrong.decoder:norm_applied_twice", ("decoder", "--window", "4")),
        ("tests.conformance.wrong.selection:as_column", ("selection", "--window", "10")),
        ("tests.conformance.wrong.at_random:raises_now_and_then", ("selection", "--window", "4")),
    ],
)
def test_all_that_is_printed_fits_80_columns(
    target: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(target, "--kind", *options, "--examples", "20") == 1
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 80
    # Folded code runs.
    code = [line.removeprefix("    ") for line in shown.split("to reproduce:\n")[1].splitlines()]
    calls = code.index("", 2)
    compile("\n".join(code[: code.index("", calls + 1)]), target, "exec")


@pytest.mark.slow
def test_a_wrong_shape_of_entropy_is_said_in_words_that_help() -> None:
    """What a function gives for equal logits is the unit in which it is judged."""
    from tests.conformance.wrong.entropy import logarithm_in_place

    (failure,) = suite(logarithm_in_place, "entropy", framework="torch").report().failures
    # Which logits are the smallest depends on the version of Hypothesis.
    found = re.fullmatch(
        r"(-[\d.]+), which is (0\.\d+) times (-[\d.]+): this function gives \3 for (\d+) equal "
        "logits, and in any unit the entropy is that share of theirs",
        failure.expected,
    )
    assert found
    expected, share, of_equal, count = map(float, found.groups())
    assert expected == pytest.approx(share * of_equal, rel=1e-4)
    given = logarithm_in_place(torch.zeros(1, int(count), dtype=torch.float64))
    assert of_equal == pytest.approx(float(given), rel=1e-5)
