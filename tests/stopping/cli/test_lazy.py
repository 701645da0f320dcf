"""Commands below a command: found by their first word, listed, and imported only when they run."""

import subprocess
import sys

import click
import pytest

from stopping.cli.lazy import WithMore, load
from stopping.cli.main import exit_code, group
from stopping.errors import UserError

VERIFY = "stopping.cli.verify:verify"


def run(*words: str) -> int:
    return exit_code(lambda: group.main(words, prog_name="stopping", standalone_mode=False))


def test_the_first_word_chooses_and_the_usage_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "averages", "--help") == 0
    assert capsys.readouterr().out.startswith("Usage: stopping verify averages [OPTIONS]\n")
    assert run("verify", "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: stopping verify [OPTIONS] [NAMES]...")
    assert "Further commands:\n  averages " in shown


def test_only_the_first_word_chooses(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "T2", "averages") == 2
    assert "no claim matches 'averages'" in capsys.readouterr().err
    assert run("trace", "--out", "new.parquet", "merge") == 2


def test_options_are_those_of_the_chosen_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "averages", "--effort", "2") == 2
    assert "No such option" in capsys.readouterr().err


@pytest.mark.slow
def test_a_command_does_not_import_those_below_it() -> None:
    code = (
        "import sys, stopping.cli.verify, stopping.cli.solve;"
        "print([m for m in sys.modules if m.startswith(('stopping.cli.verify_', "
        "'stopping.cli.solve_'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_place_holds_a_command_of_that_name() -> None:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, WithMore):
            assert {n: c.name for n, c in command.commands.items()} == {n: n for n in command.more}


def test_a_place_without_a_command_is_named() -> None:
    assert load("verify", VERIFY).name == "verify"
    with pytest.raises(UserError, match="'select' is no click command"):
        load("select", "stopping.cli.verify:select")
