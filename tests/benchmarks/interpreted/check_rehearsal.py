"""What `benchmarks/gpu/run.sh` runs, rehearsed on a CPU with a tiny model.

Its kernels need Triton's interpreter; run by `make test-processors`.
"""

from pathlib import Path

from click.testing import CliRunner

from benchmarks.gpu.__main__ import main
from empirical.traces.files import read_traces
from tests.benchmarks.test_gpu_script import STEPS, rows


def test_a_rehearsal_leaves_every_table(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(tmp_path), "--device", "cpu", "--quick"])
    assert done.exit_code == 0, done.output
    assert [(row["step"], row["outcome"]) for row in rows(tmp_path, "status")] == [
        (step, "done") for step in STEPS
    ]
    assert all(rows(tmp_path, step) for step in STEPS)
    for row in rows(tmp_path, "kernel"):
        assert row["largest error, nats"] < 5e-6
        assert row["choices that differ"] == 0
        assert row["same bits again"]
    table = rows(tmp_path, "decoder-steps")
    assert {row["model"] for row in table} == {"tiny", "tiny-moe"}
    assert {"plain", "released way", "fused, stored", "piggybacked"} <= {r["design"] for r in table}
    traces = read_traces(tmp_path / "tiny-llama.reference.parquet")
    assert traces.provenance.device == "cpu"
    assert len(traces) >= 200
