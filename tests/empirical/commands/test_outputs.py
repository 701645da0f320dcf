"""Every command checks its outputs before it works, and prints its result even if a disk is full.

What a command reads does not exist here: were it looked at first, the error would be another one.
"""

import re
from pathlib import Path

import click
import numpy as np
import pytest

from empirical.traces.files import write_traces
from stopping.changepoint import write_model
from stopping.cli.lazy import WithMore
from stopping.cli.main import exit_code, group
from tests.empirical.synthetic import calibrated, from_entropies
from tests.stopping.changepoint.models import one_class

THESIS = "my thesis, which no command wrote"
MODEL = ("--model", "nowhere.gguf")
OUTPUTS = {
    "solve out": ("solve", "nowhere.json", "--out", "{foreign}"),
    "solve figure": ("solve", "nowhere.json", "--figure", "{foreign}.svg"),
    "solve phases": ("solve", "phases", "nowhere.json", "--figure", "{foreign}.svg"),
    "sweep": ("sweep", "--figure", "{foreign}.svg"),
    "verify figures": ("verify", "figures", "--out", "{folder}"),
    "fit out": ("fit", "nowhere.parquet", "--out", "{foreign}"),
    "fit figure": ("fit", "nowhere.parquet", "--figure", "{foreign}.svg"),
    "means": ("audit", "means", "nowhere.csv", "--figure", "{foreign}.svg"),
    "phases": ("audit", "phases", "nowhere.parquet", "--figure", "{foreign}.svg"),
    "beliefs": ("fit", "beliefs", "nowhere.json", "nowhere.parquet", "--out", "{foreign}"),
    "problems": ("trace", "problems", "--out", "{foreign}"),
    "merge": ("trace", "merge", "{foreign}", "nowhere.parquet", "--fresh"),
    "trace": ("trace", *MODEL, "--out", "{foreign}", "--fresh"),
    "generate": ("generate", *MODEL, "--prompt", "a", "--steps", "{foreign}"),
    "evaluate": ("evaluate", *MODEL, "--rule", "search", "--out", "{foreign}", "--fresh"),
    "paper": ("paper", *MODEL, "--out", "{folder}"),
    "report": ("report", "nowhere.parquet", "--out", "{folder}"),
    "control": ("control", *MODEL, "--out", "{foreign}", "--fresh"),
    "control figure": ("control", *MODEL, "--figure", "{foreign}.svg"),
    "lens": ("lens", "fit", *MODEL, "--out", "{foreign}"),
}


def stopping(*arguments: object) -> int:
    return exit_code(lambda: group.main([*map(str, arguments)], standalone_mode=False))


def test_every_command_with_an_output_is_asked_here() -> None:
    named = re.compile(r"--(out|figure|steps)\b")
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = command.commands if isinstance(command, (click.Group, WithMore)) else {}
        for words, leaf in {(name,): command, **{(name, k): v for k, v in inner.items()}}.items():
            options = {o for p in leaf.params for o in p.opts if named.fullmatch(o)}
            calls = [a for a in OUTPUTS.values() if a[: len(words)] == words]
            for option in options:
                assert any(option in a for a in calls), (words, option)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_foreign_file_is_left_and_told_first(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "folder"
    folder.mkdir()
    known = ("report.json", "report.html", "paper.json", "paper.html")
    foreign = [tmp_path / "thesis", tmp_path / "thesis.svg", *(folder / file for file in known)]
    foreign += [folder / "excess.svg", folder / "values.svg"]
    for path in foreign:
        path.write_text(THESIS)
    arguments = [a.format(foreign=tmp_path / "thesis", folder=folder) for a in OUTPUTS[name]]
    assert stopping(*arguments) == 2
    said = capsys.readouterr().err
    assert "is left as it is" in said
    assert "Traceback" not in said
    assert all(path.read_text() == THESIS for path in foreign)


def test_a_trace_is_no_place_for_the_steps_of_a_generation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.parquet"
    write_traces(path, calibrated(prompts=2, tokens=5))
    before = path.read_bytes()
    for name in ("generate", "beliefs", "solve out", "fit out", "lens", "evaluate"):
        assert stopping(*(a.format(foreign=path) for a in OUTPUTS[name])) == 2
        assert "is left as it is" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("name", ["solve out", "solve figure", "sweep", "beliefs", "phases"])
def test_a_full_disk_costs_the_file_not_the_result(
    name: str, as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full.svg"
    full.symlink_to("/dev/full")
    traces, model = tmp_path / "t.parquet", tmp_path / "m.json"
    x = np.maximum(one_class().sample(np.random.default_rng(0), 300).x, 0.0)
    write_traces(traces, from_entropies(x, prompts=10))
    write_model(model, one_class())
    small = {
        "solve out": ("solve", model, "--paths", 1000, "--jobs", 1, "--out", full),
        "solve figure": ("solve", model, "--paths", 1000, "--jobs", 1, "--figure", full),
        "sweep": ("sweep", "--drift", 0, "--rise", 1, "--tokens", 9, "--jobs", 1, "--figure", full),
        "beliefs": ("fit", "beliefs", model, traces, "--out", full),
        "phases": ("audit", "phases", traces, "--replicates", 100, "--figure", full),
    }  # fmt: skip
    assert stopping(*small[name], *(["--json"] * as_json)) == 2
    said = capsys.readouterr()
    assert "full.svg: cannot write here (No space left on device); make room" in said.err
    assert said.out.startswith(("{", "[") if as_json else "")
    assert len(said.out) > 100
    assert "Wrote" not in said.out
