"""The command `stopping`: exit codes, JSON, errors without tracebacks, light imports."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import EntryPoint
from itertools import islice
from pathlib import Path

import click
import pytest

from stopping.cli.lazy import WithMore, summary
from stopping.cli.main import ENTRY_POINT_GROUP, OWN, exit_code, group, main, places
from stopping.errors import UserError
from stopping.support.documents import as_json
from stopping.support.files import write_atomic, written_aside


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stopping", *arguments], capture_output=True, text=True
    )


@pytest.mark.slow
def test_verify_prints_a_table_and_a_summary() -> None:
    done = run("verify", "T2", "--jobs", "1", "--effort", "0.2")
    assert done.returncode == 0, done.stderr
    assert "T2.excess" in done.stdout
    assert "All 2 claims hold" in done.stdout


@pytest.mark.slow
def test_verify_json_is_json() -> None:
    done = run("verify", "T1*", "T3", "--jobs", "1", "--effort", "0.1", "--json", "--seed", "4")
    result = json.loads(done.stdout)
    assert result["seed"] == 4
    assert {claim["label"] for claim in result["claims"]} >= {"T1", "T3"}
    assert all(claim["verdict"] in ("holds", "violated", "undecided") for claim in result["claims"])


@pytest.mark.slow
def test_too_few_draws_leave_claims_undecided_and_exit_1() -> None:
    assert run("verify", "T11.mean", "--jobs", "1", "--effort", "0.001").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "T99"), "no claim matches"),
        (("verify", "--effort", "0"), "effort"),
        (("verify", "--seed", "-1"), "seed"),
        (("verify", "--error", "nan"), "0<x<1"),
        (("verify", "--effort", "inf"), "0<x<=10000"),
        (("solve", "--cost", "nan"), "0<=x<=1000"),
        (("solve", "phases", "--cost", "0.5"), "No such option"),
        (("solve", "--resume", "cells.jsonl"), "No such option"),
        (("sweep", "--drift", "0:1:1000000000"), "COUNT"),
        (("sweep", "--jobs", "100000"), "--jobs"),
        (("nonsense",), "nonsense"),
    ],
)
def test_bad_input_exits_2_without_a_traceback(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_nor_has_the_process_a_traceback() -> None:
    done = run("verify", "T99")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no claim matches")


def test_every_command_has_help_with_examples() -> None:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        assert command.help, name
        inner = command.commands if isinstance(command, (click.Group, WithMore)) else {}
        own = () if isinstance(command, click.Group) else (command,)
        for leaf in (*own, *inner.values()):
            assert "Examples:" in f"{leaf.help}\n{leaf.epilog}", (name, leaf.name)


def test_what_an_older_installation_left_behind_is_no_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = [
        EntryPoint("gone", "stopping.cli.gone:gone", ENTRY_POINT_GROUP),
        EntryPoint("there", "stopping.cli.sweep:sweep", ENTRY_POINT_GROUP),
        EntryPoint("verify", "stopping.cli.sweep:sweep", ENTRY_POINT_GROUP),
    ]
    main = sys.modules["stopping.cli.main"]
    monkeypatch.setattr(main, "entry_points", lambda group: left)
    monkeypatch.setattr(main, "places", main.places.__wrapped__)
    context = click.Context(group)
    assert group.list_commands(context) == [*sorted({*OWN, "there"})]
    verify = group.get_command(context, "verify")
    assert verify is not None
    assert verify.name == "verify"


@pytest.mark.slow
def test_importing_the_packages_stays_light() -> None:
    heavy = "{'torch', 'transformers', 'matplotlib', 'pandas'}"
    code = (
        "import sys, stopping, stopping.claims, stopping.rules, stopping.model.process, empirical;"
        f"print(sorted({heavy} & set(sys.modules)))"
        "; print('empirical' in sys.modules)"
    )
    light = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert light.stdout.split("\n")[0] == "[]", light.stderr


@pytest.mark.slow
def test_the_theory_never_imports_the_shell() -> None:
    code = "import pkgutil, importlib, sys, stopping\n" + (
        "for m in pkgutil.walk_packages(stopping.__path__, 'stopping.'):\n"
        "    if not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        "print('empirical' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False False", done.stderr


def test_exit_codes() -> None:
    def user_error() -> None:
        raise UserError("correct [it] so")

    def interrupt() -> None:
        raise KeyboardInterrupt

    assert exit_code(user_error) == 2
    assert exit_code(interrupt) == 130
    assert exit_code(lambda: 1) == 1
    assert exit_code(lambda: None) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("sweep", "--drift", "0", "--rise", "1", "--perturbed", "0.2", "--tokens", "2"),
        ("verify", "T2"),
        ("verify", "robustness", "A4", "--effort", "0.001"),
        ("solve", "phases", "--paths", "1000"),
    ],
)
@pytest.mark.parametrize(
    ("resumes", "done"), [(False, 1), (True, 0), (True, 1)], ids=["kept nowhere", "none", "one"]
)
def test_an_interruption_speaks_of_kept_parts_only_where_there_are(
    command: tuple[str, ...],
    resumes: bool,
    done: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(jobs: Iterable[Callable[[], object]], _: object) -> Iterator[object]:
        yield from (job() for job in islice(jobs, done))
        raise KeyboardInterrupt

    monkeypatch.setattr("stopping.support.store.journal.in_order", interrupted)
    cells = tmp_path / "cells"
    arguments = [*command, "--jobs", "1", *(("--resume", str(cells)) if resumes else ())]
    assert exit_code(lambda: group.main(arguments, standalone_mode=False)) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    kept = f"; finished parts are kept in {cells}; give the same command again to go on"
    assert said == f"interrupted{kept if resumes and done else ''}"


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True])
def test_a_full_disk_behind_standard_output_is_one_line(as_json: bool) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "stopping", "trace", "problems", *(["--json"] * as_json)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == "error: reading or writing failed: No space left on device\n"


def test_json_has_no_nan() -> None:
    assert json.loads(as_json({"a": float("nan"), "b": (1, float("inf"))})) == {
        "a": None,
        "b": [1, None],
    }


def test_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.json"
    write_atomic(target, "old")

    def fail() -> None:
        with written_aside(target) as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]
    with pytest.raises(UserError, match="cannot write"):
        write_atomic(target / "below", "x")


@pytest.mark.slow
def test_help_imports_no_command() -> None:
    ask = (
        "import contextlib, sys\n"
        "from stopping.cli import main\n"
        "with contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        "heavy = {'numpy', 'scipy', 'pyarrow', 'rich', 'stopping.rules'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in places():
        assert f"\n  {name} " in done.stdout


def test_summaries_are_the_commands_own_words() -> None:
    context = click.Context(group)
    for name, place in places().items():
        command = group.get_command(context, name)
        assert command is not None
        assert command.help is not None
        assert summary(place).split() == command.help.partition("\n\n")[0].split()
        assert summary(place)
