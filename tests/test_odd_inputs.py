"""Every option and argument of every command with odd values: a result, or one clear line.

The calls are made from the commands themselves: one base call of each, small enough to end at once,
with one option after the other set to what nobody should give it. A new option is asked by itself;
a new command needs a line in `base`. Each number is asked every value, each text and path `A_TURN`
of them, the next option the next ones; HYPOTHESIS_PROFILE=thorough asks all.
"""

import hashlib
import io
import os
import re
import shutil
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType

import click
import numpy as np
import pytest

from empirical.traces.files import write_traces
from stopping.changepoint import write_model
from stopping.cli.lazy import WithMore
from stopping.cli.main import exit_code, group
from stopping.cli.numbers import Number, Numbers
from tests.empirical.synthetic import from_entropies
from tests.empirical.tiny_models import save_tiny_folder
from tests.stopping.changepoint.models import one_class

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SECONDS = 60
"""Of one call: a thousand times what it needs, so that only a hang reaches it."""

HUGE = str(10**30)
IMPOSSIBLE = ("nan", "inf", "-inf", "1e400", HUGE, "-1e308", "", " ", "a:b:c", "٣٫x", "--json")
"""What no numeric option may take."""
WORDS = ("", "nan", "a:b:c", ",", "::", "ä🦉", "\n", "%s{0}", HUGE, "0:1:1000000000", "../..")
PLACES = ("", "folder", "binary", "empty", "missing/deeper/file", "ä🦉 x", "/dev/null", "n" * 300)
A_TURN = 99 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 4

MODEL = ("--model", "model", "--device", "cpu", "--dtype", "float32", "--chat", "off")
SHORT = (*MODEL, "--max-new-tokens", "1")
TEXTS = (*MODEL, "--mode", "generated", "--max-new-tokens", "1")
TRACED = ("traces.parquet", "--window", "3", "--replicates", "100")
ALONE = ("--jobs", "1")


def base() -> dict[str, tuple[str, ...]]:
    """A small call of every command; those that cannot be small have an input that is missing."""
    return {
        "audit": TRACED,
        "audit means": ("missing.csv",),
        "audit phases": ("traces.parquet", "--replicates", "100"),
        "certify": ("traces.parquet", "--rule", "search:K=2", "--alpha", "0.3"),
        "conformance": ("given:choose", "--kind", "selection", "--examples", "1", "--only", "nan"),
        "control": ("--model", "missing", "--dial", "0.5"),
        "cost": ("--config", "8b"),
        "evaluate": (*SHORT, "--rule", "search:K=1", "--problems", "2"),
        "fit": (*TRACED, *ALONE, "--scale", "nats", "--classes", "1", "--refits", "0"),
        "fit beliefs": ("fitted.json", "traces.parquet"),
        "generate": (*SHORT, "--rule", "search:K=1", "--prompt", "one"),
        "learn": (*TRACED, "--no-theory", *ALONE),
        "lens fit": (*TEXTS, "--out", "new.lens", "--layers", "2", "--tokens", "30"),
        "lens pools": (*MODEL, "--layers", "2", "--tokens", "30", "--epochs", "1"),
        "lens show": ("missing.lens",),
        "lens transfer": ("missing.lens", *MODEL, "--tokens", "9"),
        "lm-eval": ("run",),
        "paper": ("--model", "missing", "--problems", "4"),
        "report": ("missing.parquet",),
        "solve": ("missing.json",),
        "solve phases": ("missing.json",),
        "sweep": (
            *("--drift", "0", "--rise", "1", "--perturbed", "0.2", "--tokens", "9"),
            *("--window", "2", "--rule", "search", *ALONE),
        ),
        "trace": (*TEXTS, "--out", "new.parquet", "--layers", "2", "--problems", "1"),
        "trace merge": ("merged.parquet", "missing.parquet"),
        "trace problems": ("--n", "1"),
        "validate": (*TRACED, "--rule", "search"),
        "verify": ("T2", "--effort", "0.01", *ALONE),
        "verify averages": ("--layers", "1", *ALONE),
        "verify figures": ("tolerance", "--quick", "--out", "figures"),
        "verify robustness": ("A4", "--effort", "0.0001", *ALONE),
    }  # fmt: skip


def commands() -> dict[str, click.Command]:
    """Every command, those below another by both names."""
    context = click.Context(group)
    found: dict[str, click.Command] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = command.commands if isinstance(command, (click.Group, WithMore)) else {}
        found |= {f"{name} {leaf}": each for leaf, each in inner.items()}
        if not isinstance(command, click.Group):
            found[name] = command
    return found


COMMANDS = commands()


def calls(name: str) -> Iterator[tuple[click.Parameter, str, list[str]]]:
    """Each parameter with each odd value, in place of what the base call gives it."""
    given = base()[name]
    for turn, parameter in enumerate(COMMANDS[name].params):
        for value in values(parameter, turn):
            yield (
                parameter,
                value,
                [*name.split(), *replaced(COMMANDS[name], given, parameter, value)],
            )


def values(parameter: click.Parameter, turn: int) -> tuple[str, ...]:
    """Odd values of one parameter."""
    kind = parameter.type
    if getattr(parameter, "is_flag", False):
        return ("",)
    if is_number(parameter):
        return IMPOSSIBLE
    if isinstance(kind, click.Choice):
        return ("", "nonsense", HUGE)
    every = PLACES if isinstance(kind, click.Path) else WORDS
    start = turn * A_TURN % len(every)
    return (every[start:] + every[:start])[:A_TURN]


def is_number(parameter: click.Parameter) -> bool:
    kind = parameter.type
    kinds = kind.types if isinstance(kind, click.Tuple) else [kind]
    return all(
        isinstance(each, (click.types.IntParamType, click.types.FloatParamType, Numbers))
        for each in kinds
    )


def replaced(
    command: click.Command, given: tuple[str, ...], parameter: click.Parameter, value: str
) -> list[str]:
    """The base call with another value of one parameter."""
    if isinstance(parameter, click.Argument):
        end = next((i for i, part in enumerate(given) if part.startswith("-")), len(given))
        kinds = [each for each in command.params if isinstance(each, click.Argument)]
        place = kinds.index(parameter)
        positional = [*given[:end], *[""] * len(kinds)][: max(end, place + 1)]
        positional[place] = value
        return [*given[end:], "--", *positional]
    option = parameter.opts[-1]
    if getattr(parameter, "is_flag", False):
        return [*given, *([] if option in given else [option])]
    kept = list(given)
    while option in kept:
        at = kept.index(option)
        del kept[at : at + 2]
    size = parameter.nargs
    return [*kept, option, *[value] * size]


class Hang(BaseException):
    """A call that did not end."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(signal_number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fault(arguments: list[str]) -> tuple[int | None, str]:
    """Exit code, and what is wrong with the call's end, if anything."""
    out, err = io.StringIO(), io.StringIO()
    code: int | None
    try:
        with limited(SECONDS), redirect_stdout(out), redirect_stderr(err):
            code = exit_code(lambda: group.main(arguments, standalone_mode=False))
    except SystemExit as end:  # the harness has a parser of its own
        code = end.code if isinstance(end.code, int) else None
    except BaseException as error:  # what would be a traceback
        return None, f"{type(error).__name__}: {str(error)[:300]}"
    said = err.getvalue()
    if code not in (0, 1, 2):
        return code, f"exit code {code}: {said[-300:]}"
    errors = len(re.findall(r"(?m)^(.*: error|error|Error):", said))
    # What the conformance suite hands out as a counterexample may hold a NaN.
    if re.search(r"\bnan\b", out.getvalue()) and arguments[0] != "conformance":
        return code, f"NaN in the result: {out.getvalue()[:500]}"
    if "Traceback" in said + out.getvalue() or errors != (code == 2):
        return code, f"exit code {code}, {errors} errors: {said[-500:]}"
    return code, ""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny one of everything that a command reads."""
    folder = tmp_path_factory.mktemp("inputs")
    x = np.maximum(one_class().sample(np.random.default_rng(0), 400).x, 0.0)
    write_traces(folder / "traces.parquet", from_entropies(x, prompts=12))
    write_model(folder / "fitted.json", one_class())
    save_tiny_folder(folder / "model")
    (folder / "given.py").write_text("def choose(x):\n    return x.argmin(axis=-1)\n")
    (folder / "folder").mkdir()
    (folder / "binary").write_bytes(bytes(range(256)) * 8)
    (folder / "empty").touch()
    return folder


def digests(folder: Path) -> dict[str, str]:
    """Names of the files below a folder, each with its content's hash."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if "__pycache__" not in path.parts
    }


def test_every_command_has_a_base_call() -> None:
    assert base().keys() == COMMANDS.keys()
    assert sum(1 for name in COMMANDS for _ in calls(name)) >= 400


def test_every_number_has_two_ends() -> None:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            kind = parameter.type
            kinds = kind.types if isinstance(kind, click.Tuple) else [kind]
            for each in kinds:
                each = each.one if isinstance(each, Numbers) else each
                if isinstance(each, (click.types.IntParamType, click.types.FloatParamType)):
                    assert isinstance(each, (click.IntRange, Number)), (name, parameter.opts)
                    assert None not in (each.min, each.max), (name, parameter.opts)


@pytest.mark.parametrize("name", COMMANDS)
def test_odd_values(
    name: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    shutil.copytree(inputs, here)
    monkeypatch.chdir(here)
    around = set(ROOT.iterdir())
    faults = []
    for parameter, value, arguments in calls(name):
        code, wrong = fault(arguments)
        if not wrong and is_number(parameter) and code != 2:
            wrong = f"exit code {code} for {value!r}"
        if wrong:
            faults.append(f"{arguments}: {wrong}")
        assert stat.S_ISCHR(Path("/dev/null").stat().st_mode), arguments
    assert not faults, "\n".join(faults)
    before, after = digests(inputs), digests(here)
    assert not [file for file in before if file != "empty" and after.get(file) != before[file]]
    assert [*tmp_path.iterdir()] == [here]
    assert set(ROOT.iterdir()) == around
