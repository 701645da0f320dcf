"""Mistakes in the harness's arguments end in one line that says which."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from empirical.commands.lm_eval import lm_eval
from empirical.evaluation.harness.command import headings
from empirical.evaluation.harness.mistakes import as_mistakes, require_sound
from empirical.evaluation.harness.model import ConfidentLM
from stopping.cli.main import exit_code
from stopping.errors import UserError
from tests.empirical.tiny_models import save_tiny_folder

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": ""}, "unknown kind"),
        ({"rule": 5}, "unknown kind"),
        ({"window": "abc"}, "window=abc: it must be a number"),
        ({"window": "nan"}, "window=nan: it must be a whole number"),
        ({"p": "abc"}, "p=abc: it must be a number"),
        ({"norm": "maybe"}, "norm=maybe: it is on or off"),
        ({"seed": "abc"}, "seed=abc: it must be a number"),
        ({"seed": 1.5}, "seed=1.5: it must be a whole number"),
        ({"seed": -1}, "seed: must be >= 0, got -1"),
        ({"plan": "fast"}, "plan=fast: choose from fixed, measured"),
        ({"score": ""}, "score=: choose from final, chosen"),
        ({"lens": 5}, "5: no such file"),
        ({"pretrained": None}, "pretrained is missing"),
        ({"pretrained": 5}, "--model_args: "),
        ({"pretrained": "/no/where"}, "/no/where: no such file or folder"),
        ({"pretrained": "x.gguf"}, "x.gguf: no such file"),
        ({"frobnicate": 1}, "--model_args: TypeError: .*'frobnicate'"),
        ({"dtype": "float7"}, "--model_args: AttributeError: .*'float7'"),
        ({"backend": "sideways"}, "--model_args: AssertionError"),
        ({"enable_thinking": True}, "think_end_token is required"),
        ({"autogptq": True}, "--model_args: ModuleNotFoundError: .*auto_gptq"),
    ],
    ids=str,
)
def test_model_arguments(folder: Path, arguments: dict[str, Any], message: str) -> None:
    given = {"pretrained": str(folder), "dtype": "float32", **arguments}
    with pytest.raises(UserError, match=message) as raised:
        ConfidentLM.create_from_arg_obj(given, {"device": "cpu"})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": -1.0}, "--limit -1: must be a number of records"),
        ({"limit": float("nan")}, "--limit nan"),
        ({"num_fewshot": -1}, "--num_fewshot -1: must be >= 0"),
        ({"batch_size": "0"}, "--batch_size 0: must be a number of records, auto or auto:N"),
        ({"batch_size": "many"}, "--batch_size many"),
        ({"batch_size": "auto:x"}, "--batch_size auto:x"),
        ({"device": "gpu7"}, "--device gpu7: no such device"),
        ({"output_path": f"{__file__}/results"}, "is no folder that can be written to"),
        ({"output_path": __file__}, "is no folder that can be written to"),
    ],
    ids=str,
)
def test_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        require_sound(Namespace(**options))


def test_options_that_can_be_meant(tmp_path: Path) -> None:
    for options in (
        {},
        {"limit": 0.5, "batch_size": "auto", "device": "cuda:0"},
        {"limit": 3.0, "batch_size": "auto:4", "num_fewshot": 0, "device": None},
        {"batch_size": "16", "output_path": str(tmp_path / "new" / "deeper")},
        {"output_path": str(tmp_path / "results.json")},
    ):
        require_sound(Namespace(**options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run --tasks nosuchtask --model_args pretrained=.", "error: lm-eval: Tasks not found"),
        ("run --model_args pretrained=.", "error: lm-eval: No tasks specified"),
        ('run --tasks a --model_args {"a', "error: lm-eval: Invalid JSON"),
        ("run --tasks a --model_args pretrained=. --limit nan", "error: --limit nan"),
        ("run --tasks a --frobnicate", "unrecognized arguments: --frobnicate"),
    ],
)
def test_the_command_ends_with_2_and_one_line(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    # The harness looks through some ten thousand files for its own tasks.
    manager = "lm_eval.tasks.manager.TaskManager.__init__"
    original = sys.modules["lm_eval.tasks.manager"].TaskManager.__init__

    def without_defaults(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "include_defaults": False})

    monkeypatch.setattr(manager, without_defaults)
    # Its log may go to the captured output of an earlier test.
    monkeypatch.setattr("logging.raiseExceptions", False)

    def run() -> int:
        try:
            lm_eval.main(arguments.split(" "), "lm-eval", standalone_mode=False)
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    assert exit_code(run) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_errors_of_others_are_shown_in_short() -> None:
    with pytest.raises(UserError, match=r"^here: KeyError: 'a'$"), as_mistakes("here"):
        raise KeyError("a")
    with pytest.raises(UserError, match=r"^here: a b$"), as_mistakes("here"):
        raise ValueError("a\n  b")
    with pytest.raises(UserError, match=r"^here: x{300} \.\.\.$"), as_mistakes("here"):
        raise ValueError("x" * 999)
    for error in (UserError("mine"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, as_mistakes("here"):
            raise error
        assert raised.value is error


def test_tables_have_their_headings() -> None:
    from lm_eval.utils import make_table
    from pytablewriter import MarkdownTableWriter

    result = {
        "results": {"t": {"alias": "t", "acc,none": 0.25, "acc_stderr,none": 0.125}},
        "versions": {"t": 1},
        "n-shot": {"t": 0},
        "group_subtasks": {"t": []},
    }
    before = hasattr(MarkdownTableWriter, "headers")
    with headings():
        first, _, row, *_ = make_table(result).splitlines()
    assert [cell.strip() for cell in first.split("|")[1:-1]] == [
        *("Tasks", "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr")
    ]
    assert [cell.strip() for cell in row.split("|")[1:4]] == ["t", "1", "none"]
    assert hasattr(MarkdownTableWriter, "headers") == before
