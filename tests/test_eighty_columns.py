"""What the commands print in eighty columns is whole: no cell is cut, no line is too long."""

from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from empirical.commands.paper import report
from empirical.data import bundled_papers
from empirical.studies.paper.results import read_paper
from empirical.traces.files import write_traces
from stopping.changepoint import write_model
from stopping.cli.main import exit_code, group
from stopping.cli.ui import output, show
from tests.empirical.synthetic import calibrated, from_entropies
from tests.stopping.changepoint.models import one_class

Captured = pytest.CaptureFixture[str]

SAMPLE = ("calibrated.parquet", "--replicates", "100", "--window", "3")
ALONE = ("--jobs", "1")
CALLS = {
    "audit": SAMPLE,
    "fit beliefs": ("fitted.json", "drawn.parquet"),
    "cost": ("--config", "8b"),
    "fit": (
        *("drawn.parquet", "--window", "3", "--replicates", "100", "--refits", "0"),
        *("--scale", "nats", "--classes", "1", *ALONE),
    ),
    "learn": (*SAMPLE, "--no-theory", *ALONE),
    "audit means": (),
    "certify": (),
    "audit phases": ("calibrated.parquet", "--replicates", "100"),
    "solve": ("fitted.json", "--paths", "1000", *ALONE),
    "sweep": (
        "--drift",
        "0:1:3",
        "--rise",
        "0:1:21",
        "--perturbed",
        "0.2",
        "--tokens",
        "9",
        *ALONE,
    ),
    "validate": SAMPLE,
    "verify": ("T2", "--effort", "0.01", *ALONE),
    "verify averages": ("--layers", "1", *ALONE),
    "verify robustness": ("A4", "--effort", "0.001", *ALONE),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    x = np.maximum(one_class().sample(np.random.default_rng(0), 400).x, 0.0)
    write_traces(folder / "drawn.parquet", from_entropies(x, prompts=12))
    write_traces(folder / "calibrated.parquet", calibrated(prompts=12, tokens=20))
    write_model(folder / "fitted.json", one_class())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_cut(
    name: str, inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(inputs)
    code = exit_code(lambda: group.main([*name.split(), *CALLS[name]], standalone_mode=False))
    assert code in (0, 1)
    require_whole(capsys.readouterr().out)


@pytest.mark.parametrize("name", bundled_papers())
def test_nothing_of_the_papers_tables_is_cut(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show(output(), report(read_paper(bundled_papers()[name])))
    require_whole(capsys.readouterr().out)


def require_whole(out: str) -> None:
    assert "…" not in out
    assert len(out.splitlines()) > 3
    assert [line for line in out.splitlines() if cell_len(line) > 80] == []
