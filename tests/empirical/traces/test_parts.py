"""One capture in several processes: `--shard`, launchers' environments, `stopping trace merge`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload

from empirical.capture.batch import capture
from empirical.capture.run import Settings, trace_problems
from empirical.model.anatomy import Anatomy
from empirical.model.load import LoadedModel, load_model
from empirical.problems import draw_problems
from empirical.texts import reference_texts
from empirical.traces.files import Traces, read_traces, write_traces
from empirical.traces.split import Shard, choose_shard, local_device
from stopping.cli import main
from stopping.errors import UserError
from stopping.support.store import Parts
from tests.empirical.tiny_models import save_tiny_folder

RUN = ("--problems", 10, "--batch", 2, "--max-new-tokens", 12, "--mode", "generated")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_folder(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="module")
def single(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same capture in one process."""
    out = tmp_path_factory.mktemp("single") / "t.parquet"
    assert stopping("trace", "--model", folder, "--out", out, *RUN) == 0
    return out


def stopping(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    code = exit_.value.code
    assert isinstance(code, int)
    return code


def shard(folder: Path, out: Path, which: str, *options: object) -> int:
    return stopping("trace", "--model", folder, "--out", out, *RUN, "--shard", which, *options)


def assert_same(found: Traces, expected: Traces) -> None:
    for name, column in vars(expected).items():
        if isinstance(column, np.ndarray):
            np.testing.assert_array_equal(getattr(found, name), column)
    assert found.vocabulary == expected.vocabulary
    assert found.provenance.same_source(expected.provenance)
    assert found.provenance.storage == expected.provenance.storage
    assert (found.provenance.shard, found.provenance.shards) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
def test_merged_shards_are_the_single_run_bit_for_bit(
    folder: Path, tmp_path: Path, single: Path, n: int, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.parquet"
    for i in range(n, 0, -1):
        assert shard(folder, out, f"{i}/{n}") == 0
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [f"t.shard-{i}-of-{n}.parquet" for i in range(1, n + 1)]
    parts = [read_traces(file) for file in files]
    assert sorted(np.concatenate([np.unique(part.prompt) for part in parts])) == list(range(10))
    capsys.readouterr()
    assert stopping("trace", "merge", out, *files, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["shards"] == n
    assert summary["tokens"] == len(read_traces(out))
    assert_same(read_traces(out), read_traces(single))
    # What is there stays, unless asked for.
    assert stopping("trace", "merge", out, *files) == 2
    assert stopping("trace", "merge", out, *files, "--fresh", "--storage", "float32") == 0
    precise = read_traces(out)
    assert precise.provenance.storage is not None
    assert precise.provenance.storage.entropy_max == 0.0


@pytest.mark.slow
def test_an_interrupted_shard_goes_on(
    folder: Path, tmp_path: Path, single: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.parquet"
    real = Parts.keep

    def interrupted(self: Any, number: int, traces: Traces) -> None:
        real(self, number, traces)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "keep", interrupted)
        assert shard(folder, out, "1/2") == 130
    parts = tmp_path / "t.shard-1-of-2.parquet.parts"
    kept = (parts / "part-00000.parquet").stat().st_mtime_ns
    assert not list(tmp_path.glob("*.parquet"))
    # A third of the run is no continuation of a half.
    assert shard(folder, out, "1/3") == 0
    assert shard(folder, out, "2/2") == 0
    assert (parts / "part-00000.parquet").stat().st_mtime_ns == kept
    assert shard(folder, out, "1/2") == 0
    assert stopping("trace", "merge", out, *tmp_path.glob("t.shard-*-of-2.parquet")) == 0
    assert_same(read_traces(out), read_traces(single))


LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--nproc-per-node=2", "--no-python"],
    # On a CPU accelerate starts a single process unless it is told that there are several GPUs.
    "accelerate": [
        *("accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"),
        *("--mixed_precision=no", "--dynamo_backend=no", "--gpu_ids=all", "--no_python"),
    ],
}
CHOICE = """
import os, pathlib, sys
from empirical.traces.split import choose_shard
shard = choose_shard(None, os.environ)
pathlib.Path(sys.argv[1], os.environ["LOCAL_RANK"]).write_text(f"{shard.number}/{shard.count}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers_give_each_process_its_shard(launcher: str, tmp_path: Path) -> None:
    process = [sys.executable, "-c", CHOICE, str(tmp_path)]
    subprocess.run(
        [sys.executable, "-m", *LAUNCHERS[launcher], *process],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
    )
    found = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert found == {"0": "1/2", "1": "2/2"}


def test_a_launched_run_is_the_single_one(
    folder: Path, tmp_path: Path, single: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.parquet"
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert stopping("trace", "--model", folder, "--out", out, *RUN, "--device", "cpu") == 0
    assert stopping("trace", "merge", out, *tmp_path.glob("t.shard-*.parquet")) == 0
    assert_same(read_traces(out), read_traces(single))


def test_each_shard_stops_at_its_share_of_the_tokens(folder: Path, tmp_path: Path) -> None:
    loaded = load_model(folder, device="cpu")
    settings = Settings(tokens=600, batch=1, layers=1)
    for i in (1, 2):
        trace_problems(
            loaded, draw_problems(40), settings, tmp_path / "t.parquet", shard=Shard(i, 2)
        )
    for file in tmp_path.glob("*.parquet"):
        traces = read_traces(file)
        last_part = traces.prompt // 2 == traces.prompt.max() // 2
        assert len(traces) >= 300 > (~last_part).sum()


def test_launchers_and_options() -> None:
    four = {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2"}
    assert choose_shard(None, four) == Shard(3, 4)
    assert choose_shard(None, {}) is None
    assert choose_shard(None, {"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert choose_shard(" 2/4", {"RANK": "0", "WORLD_SIZE": "1"}) == Shard(2, 4)
    with pytest.raises(UserError, match="leave --shard out"):
        choose_shard("1/4", four)
    for wrong in ("0/4", "5/4", "1", "a/b", "1/0", "-1/2"):
        with pytest.raises(UserError, match="from 1 to n"):
            choose_shard(wrong, {})
    for wrong_rank in ("4", "x"):
        with pytest.raises(UserError, match="RANK"):
            choose_shard(None, {"RANK": wrong_rank, "WORLD_SIZE": "4"})
    assert local_device("cpu", four) == "cpu"
    assert local_device("auto", {}) == "auto"
    parts = [number for number in range(9) for i in (1, 2, 3, 4) if Shard(i, 4).does(number)]
    assert parts == list(range(9))


@pytest.mark.parametrize(("gpus", "expected"), [(0, "cpu"), (2, "cuda:1"), (8, "cuda:3")])
def test_each_process_has_a_gpu_of_its_own(
    gpus: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert local_device("auto", {"LOCAL_RANK": "3"}) == expected


@pytest.mark.slow
def test_what_cannot_be_merged(
    folder: Path, single: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.parquet"
    assert shard(folder, out, "1/2") == 0
    assert shard(folder, out, "2/2") == 0
    one, two = sorted(tmp_path.iterdir())
    other = tmp_path / "other.parquet"
    assert shard(folder, other, "2/2", "--chat", "off", "--seed", 1) == 0
    foreign = Shard(2, 2).file(other)

    def told(*files: Path) -> str:
        capsys.readouterr()
        assert stopping("trace", "merge", out, *files) == 2
        assert not out.exists()
        return capsys.readouterr().err

    assert "of 2 shards, 2 missing" in told(one)
    assert "again, as" in told(one, two, one)
    assert "another run than" in (message := told(one, foreign))
    assert "prompts_hash" in message
    assert "whole trace file" in told(single)
    assert "no such file" in told(one, tmp_path / "none.parquet")
    capsys.readouterr()
    assert shard(folder, out, "1/9") == 2
    assert "only 3 part(s) of 4" in capsys.readouterr().err


def test_a_lost_token_would_be_noticed(folder: Path, tmp_path: Path, single: Path) -> None:
    """The comparison of this file rejects a merge that lacks one token."""
    whole = read_traces(single)
    keep = np.arange(len(whole)) != 7
    write_traces(tmp_path / "cut.parquet", whole.select(keep))
    with pytest.raises(AssertionError):
        assert_same(read_traces(tmp_path / "cut.parquet"), whole)


def test_a_device_map_changes_nothing(folder: Path, tmp_path: Path, single: Path) -> None:
    out = tmp_path / "t.parquet"
    mapped = ("--device-map", "auto")
    assert stopping("trace", "--model", folder, "--out", out, *RUN, *mapped) == 0
    assert_same(read_traces(out), read_traces(single))
    both = (*mapped, "--device", "cpu", "--fresh")
    assert stopping("trace", "--model", folder, "--out", out, *RUN, *both) == 2


def test_offloaded_weights_change_nothing(folder: Path, single: Path) -> None:
    """Weights that come to the device for each call only, as in a model that is spread."""
    loaded = load_model(folder, device="cpu")
    texts = reference_texts(loaded, list(enumerate(draw_problems(3))), chat=False)
    provenance = read_traces(single).provenance
    expected = capture(Anatomy.of(loaded.model), texts, provenance)
    offloaded = LoadedModel(cpu_offload(loaded.model), loaded.tokenizer, "tiny-llama", {})
    assert next(offloaded.model.parameters()).is_meta
    assert offloaded.device == torch.device("cpu")
    found = capture(Anatomy.of(offloaded.model), texts, provenance)
    # A head that is elsewhere is left to the model's own call, which adds in another order.
    np.testing.assert_allclose(found.entropy, expected.entropy, atol=1e-5)
    np.testing.assert_array_equal(found.residual_norm, expected.residual_norm)
