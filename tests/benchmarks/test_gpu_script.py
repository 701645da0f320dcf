"""`benchmarks/gpu/run.sh`; `interpreted/check_rehearsal.py` rehearses what it runs."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.gpu import captures, decoding
from benchmarks.gpu.__main__ import main
from empirical.capture.run import Settings, trace_problems
from empirical.model.load import load_model
from empirical.problems import draw_problems
from empirical.traces.files import read_traces, write_traces
from stopping.rules import Search
from tests.empirical.tiny_models import save_tiny_folder

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu" / "run.sh"
STEPS = [
    "recapture-reference",
    "decoder",
    "kernel",
    "kernel-speed",
    "decoder-steps",
    "families",
    "throughput",
    "recapture-generated",
    "montecarlo",
]


def rows(out: Path, name: str) -> list[dict[str, Any]]:
    content = json.loads((out / f"{name}.json").read_text())
    assert content["provenance"]["device"] == "cpu"
    assert content["provenance"]["versions"]["torch"]
    found: list[dict[str, Any]] = content["rows"]
    assert (out / f"{name}.md").read_text().count("\n|") == len(found) + 2
    return found


def test_the_script_hands_over(tmp_path: Path) -> None:
    """To a Python of the caller's choice, with the project on its path and a limit of time."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$PYTHONPATH" "$@" > "$0.asked"\n')
    python.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(python), "MODELS": "one two", "PYTHONPATH": ""}
    subprocess.run([str(SCRIPT), "out", "--quick"], env=environment, check=True)
    path, *asked = (tmp_path / "python.asked").read_text().splitlines()
    assert Path(path) == SCRIPT.parents[2]
    assert asked == ["-m", "benchmarks.gpu", "--seconds", "480", "out", "--quick", "one", "two"]


def test_without_time_nothing_is_begun(tmp_path: Path) -> None:
    arguments = [str(tmp_path), "--device", "cpu", "--quick", "--seconds", "0"]
    assert CliRunner().invoke(main, arguments).exit_code == 1
    assert {row["outcome"] for row in rows(tmp_path, "status")} == {"no time left"}
    assert not list(tmp_path.glob("*.parquet"))


@pytest.mark.slow
def test_a_step_that_fails_does_not_keep_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "STAYING", (Search(K=2),))
    monkeypatch.setattr(captures, "recapture", lambda *_: iter([{"model": "none"}]))
    arguments = [str(tmp_path), "--device", "cpu", "--quick"]
    assert CliRunner().invoke(main, arguments).exit_code == 1
    outcomes = {row["step"]: row["outcome"] for row in rows(tmp_path, "status")}
    assert "search" in outcomes.pop("decoder")
    assert list(outcomes.values()) == ["done"] * (len(STEPS) - 1)


def test_differences_to_the_bundled_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_model(save_tiny_folder(tmp_path / "tiny"), device="cpu")
    file = tmp_path / "t.parquet"
    trace_problems(loaded, draw_problems(3), Settings(storage="float32"), file)
    monkeypatch.setattr(captures, "bundled_traces", lambda: {"t": file})
    traces = read_traces(file)
    found = captures.against_bundled(traces)
    assert found == {
        "shared tokens": len(traces),
        "mean abs dx": 0.0,
        "max abs dx": 0.0,
        "other argmax": 0.0,
        "other search": 0.0,
    }
    shifted = traces.entropy.copy()
    shifted[0, -1] += 0.5
    top1 = traces.top1.copy()
    top1[:7, -1] += 1
    half = replace(traces, entropy=shifted, top1=top1).select(np.arange(len(traces)) % 2 == 0)
    found = captures.against_bundled(half)
    assert found["shared tokens"] == len(half)
    assert found["max abs dx"] == pytest.approx(0.5)
    assert found["other argmax"] == pytest.approx(4 / len(half))
    other = replace(traces, provenance=replace(traces.provenance, weights={"x": "0"}))
    assert set(captures.against_bundled(other).values()) == {"–"}
    write_traces(file, other)
    assert set(captures.against_bundled(traces).values()) == {"–"}
