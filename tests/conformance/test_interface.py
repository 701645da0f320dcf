"""What a user meets: messages, the command, the pytest entry, unusable input."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from stopping.cli.conformance import FLAGS, KINDS, conformance
from stopping.cli.main import exit_code, group
from stopping.errors import UserError
from stopping.testing import (
    SELECTION,
    ConformanceError,
    Conventions,
    Kind,
    Status,
    check,
    conformance_tests,
    suite,
)
from stopping.testing.arrays import DTYPES, rounded
from stopping.testing.conventions import KNOWN
from tests.conformance import right_numpy
from tests.conformance.wrong.selection import K, non_strict, window_too_short


def run(*arguments: str) -> int:
    return exit_code(
        lambda: group.main(["conformance", *arguments], "stopping", standalone_mode=False)
    )


def test_a_failure_says_what_where_and_how_to_see_it() -> None:
    report = check(non_strict, K=K, only=["ties"])
    (failure,) = report.failures
    assert (failure.requirement, failure.source) == ("ties", "Algorithm 1")
    # The smallest tie that there is: two equal layers at the end, nothing special below.
    assert failure.expected == "layer index 4 of 5"
    assert failure.actual == "layer index 3 of 5"
    with pytest.raises(ConformanceError) as raised:
        report.require()
    for part in ("ties (Algorithm 1)", "expected", "actual", "reproduce", "print(non_strict(x))"):
        assert part in str(raised.value)


@pytest.mark.slow
def test_reports_repeat() -> None:
    first, second = (check(non_strict, K=K, examples=20, seed=3) for _ in range(2))
    assert first.failures == second.failures


def test_a_requirement_can_run_alone() -> None:
    report = check(window_too_short, K=K, only=["full-window", "window"], examples=20)
    assert [(r.requirement, r.status) for r in report.results] == [
        ("window", Status.FAILED),
        ("full-window", Status.PASSED),
    ]
    requirement = next(r for r in SELECTION if r.name == "window")
    subject = suite(window_too_short, "selection", K=K).subject
    failure = requirement.check(subject, examples=20)
    assert failure is not None
    assert failure.requirement == "window"


def test_the_pytest_entry_fails_where_a_requirement_does() -> None:
    test = conformance_tests(non_strict, "selection", K=K, examples=20)
    (mark,) = test.pytestmark  # type: ignore[attr-defined]
    names = mark.args[1]
    assert "ties" in names
    assert "fallback" not in names
    test("stops")
    with pytest.raises(ConformanceError, match="ties"):
        test("ties")


def test_the_pytest_entry_leaves_out_what_says_nothing_new() -> None:
    test = conformance_tests(lambda x: np.zeros(len(x)), "selection", K=K, examples=5)
    with pytest.raises(ConformanceError, match="answers"):
        test("answers")
    with pytest.raises(pytest.skip.Exception, match="presupposes answers"):
        test("ties")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check(right_numpy.select, K=0), "K"),
        (lambda: check(right_numpy.select, p=1.5), "p: must lie"),
        (lambda: check(right_numpy.select, level=0.0), "level"),
        (lambda: check(right_numpy.select, layer_axis=2), "layer_axis"),
        (lambda: check(right_numpy.select, order="up"), "order"),  # type: ignore[arg-type]
        (lambda: check(right_numpy.select, returns="x"), "returns"),  # type: ignore[arg-type]
        (lambda: check(right_numpy.select, layers=(3, 1)), "layers"),
        (lambda: check(right_numpy.select, only=["tie"]), "no requirement 'tie'"),
        (lambda: check(right_numpy.select, examples=0), "examples"),
        (lambda: check(3), "not callable"),  # type: ignore[arg-type]
        (lambda: check(lambda: 1), "takes 0 positional|too many positional"),  # type: ignore[arg-type,misc]
        (lambda: check(lambda x: x.nothing), "trivial input.*AttributeError"),
        (lambda: check(right_numpy.entropy, "entropy", dtypes=()), "dtypes"),
        (lambda: check(right_numpy.entropy, "entropy", tolerance=0.0), "tolerance"),
        (
            lambda: check(right_numpy.entropy, "entropy", dtypes=("bfloat16",), framework="numpy"),
            "bfloat16",
        ),
        (lambda: check(right_numpy.select, device="moon"), "device 'moon'"),
        (lambda: check(right_numpy.decode, "decoder", layer_axis=2), "layer_axis"),
        (lambda: check(right_numpy.decode, "decoder", tolerance=-1.0), "tolerance"),
        (lambda: check(right_numpy.decode, "decoder", dtype="float16"), "half precision"),
        (lambda: suite(right_numpy.select, "choice"), "kind"),  # type: ignore[arg-type]
        (lambda: suite(right_numpy.select, "selection", M=3), "M"),
    ],
)
def test_unusable_input_is_refused(call: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()


def test_the_command_knows_all_kinds_and_conventions() -> None:
    assert get_args(Kind) == KINDS == tuple(KNOWN)
    flags = {FLAGS.get(name, name.replace("_", "-")) for name in Conventions.__dataclass_fields__}
    options = {option.lstrip("-") for p in conformance.params for option in p.opts}
    assert flags - {"dtypes"} <= options


def test_the_command_passes_a_right_function(capsys: pytest.CaptureFixture[str]) -> None:
    target = "tests.conformance.right_numpy:select"
    arguments = ("--kind", "selection", "--window", str(K), "--examples", "10")
    assert run(target, *arguments) == 0
    assert "16 passed, 0 failed, 2 not asked" in capsys.readouterr().out


def test_the_command_fails_a_wrong_one(capsys: pytest.CaptureFixture[str]) -> None:
    target = "tests.conformance.wrong.selection:non_strict"
    arguments = ("--kind", "selection", "--window", str(K), "--only", "ties")
    assert run(target, *arguments) == 1
    shown = capsys.readouterr().out
    assert "print(non_strict(x))" in shown
    assert "0 passed, 1 failed" in shown
    assert run(target, *arguments, "--json") == 1
    report = json.loads(capsys.readouterr().out)["report"]
    assert report["results"][0]["failure"]["expected"] == "layer index 4 of 5"


@pytest.mark.slow
def test_the_command_on_a_file_of_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text(
        "import torch\n"
        "class Probe:\n"
        "    @staticmethod\n"
        "    def entropy(logits):\n"
        "        print('noise')\n"
        "        p = logits.float().softmax(-1)\n"
        "        return -(p * p.log_()).sum(-1)\n"
    )
    arguments = ("--kind", "entropy", "--path", str(tmp_path), "--only", "shannon", "--json")
    command = [sys.executable, "-m", "stopping", "conformance", "engine:Probe.entropy", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)["report"]["results"][0]
    assert "from engine import Probe" in result["failure"]["code"]
    assert {path.name for path in tmp_path.iterdir()} <= {"engine.py", "__pycache__"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere:f", "--kind", "entropy"), "nowhere"),
        (("tests.conformance.right_numpy", "--kind", "entropy"), "MODULE:FUNCTION"),
        (("tests.conformance.right_numpy:absent", "--kind", "entropy"), "no 'absent'"),
        (("tests.conformance.right_numpy:K", "--kind", "entropy"), "cannot be called"),
        (("tests.conformance.right_numpy:decode", "--kind", "entropy"), "expected (logits)"),
        (("math:sqrt", "--kind", "entropy"), "trivial input"),
        (("broken:f", "--kind", "entropy"), "importing it raised"),
        (("leaves:f", "--kind", "entropy"), "importing it raised"),
        (("tests.conformance.right_numpy:entropy", "--kind", "entropy", "-p", "1"), "--p"),
        (("math:sqrt", "--kind", "selection", "--dtype", "float32", "--dtype", "float64"), "one"),
        (("math:sqrt", "--kind", "choice"), "choice"),
        (("math:sqrt",), "--kind"),
    ],
)
def test_unusable_targets_exit_2(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(0)\n")
    assert run(*arguments, "--path", str(tmp_path)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_without_hypothesis_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from stopping.cli import main\n"
        "main(['conformance', 'math:sqrt', '--kind', 'entropy'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert 'pip install -c constraints.txt -e ".[conformance]"' in done.stderr


@pytest.mark.slow
def test_neither_stopping_nor_its_command_loads_hypothesis_and_the_suite_no_torch() -> None:
    code = (
        "import sys, stopping, stopping.cli\n"
        "assert 'hypothesis' not in sys.modules\n"
        "import numpy as np, stopping.testing as t\n"
        "t.check(lambda x: np.full(len(x), x.shape[1] - 1), K=2, only=['stays'])\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rounding_is_torchs() -> None:
    import torch

    values = np.random.default_rng(0).normal(size=1000) * 100
    for dtype in DTYPES:
        theirs = torch.from_numpy(values).to(torch.float32 if dtype != "float64" else torch.float64)
        assert np.array_equal(
            rounded(values, dtype), theirs.to(getattr(torch, dtype)).double().numpy()
        )
