"""A reply is printed as text or JSON whatever becomes of its files, and sets the exit code."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from stopping.cli.reply import Reply, of_each, with_json
from stopping.errors import UserError


def full(path: Path) -> None:
    raise UserError(f"{path}: no room")


def command(reply: Reply) -> click.Command:
    @click.command()
    @click.option("--brief", is_flag=True)
    @with_json("brief")
    def tell(brief: bool) -> Reply:
        return reply

    return tell


def test_text_or_json() -> None:
    tell = command(Reply({"x": float("nan")}, "x is [unknown]"))
    assert CliRunner().invoke(tell).output == "x is [unknown]\n"
    assert json.loads(CliRunner().invoke(tell, ["--json"]).output) == {"x": None}


def test_files_are_written_first_and_named_last(tmp_path: Path) -> None:
    path = tmp_path / "new"
    reply = Reply(
        lambda: {"written": path.read_text()},
        lambda out: out.print(path.read_text()),
        [(path, lambda p: p.write_text("here")), (None, full)],
    )
    assert CliRunner().invoke(command(reply)).output.splitlines() == ["here", f"Wrote {path}."]
    path.unlink()
    assert json.loads(CliRunner().invoke(command(reply), ["--json"]).output) == {"written": "here"}


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_file_that_cannot_be_written_costs_the_file_alone(words: list[str]) -> None:
    tell = command(Reply({"x": 1}, "x is 1", [(Path("p"), full)]))
    done = CliRunner().invoke(tell, words)
    assert isinstance(done.exception, UserError)
    assert "1" in done.output
    assert "Wrote" not in done.output


def test_what_shapes_the_text_alone_is_refused_with_json() -> None:
    tell = command(Reply({}, "text"))
    assert CliRunner().invoke(tell, ["--brief"]).exit_code == 0
    done = CliRunner().invoke(tell, ["--brief", "--json"])
    assert "--brief has no meaning with --json" in str(done.exception)


def test_the_exit_code_is_handed_on() -> None:
    done = command(Reply({}, "text", code=1)).main([], standalone_mode=False)
    assert done == 1


def test_each_result_has_its_own_report() -> None:
    reply = of_each([("a", 1), ("b", 2)], "found", lambda name, n: iter((f"{name}: {n}",)))
    assert reply.content == [{"traces": "a", "found": 1}, {"traces": "b", "found": 2}]
    assert CliRunner().invoke(command(reply)).output.split() == ["a:", "1", "b:", "2"]
