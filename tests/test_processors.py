"""What the commands print and draw does not change with the processor."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from empirical.traces.files import write_traces
from tests.empirical.synthetic import calibrated
from tests.processors import OWN, PLAIN, ROOT, Setting

COMMANDS = """
import sys
from stopping.cli import main

few = [sys.argv[1], "--window", "6", "--replicates", "100"]
for arguments in (
    ["audit", *few],
    ["validate", *few, "--by-difficulty"],
    ["verify", "averages", "--layers", "1", "--jobs", "1"],
    ["verify", "T2", "--effort", "0.1", "--jobs", "1"],
    ["verify", "figures", "--out", ".", "--quick", "law"],
):
    print(arguments[0], "says:", flush=True)
    try:
        main(arguments)
    except SystemExit as end:
        print("exit code", end.code, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not PLAIN.possible, reason="this processor has no instructions of x86-64")
def test_the_processor_changes_nothing_printed_or_drawn(tmp_path: Path) -> None:
    path = tmp_path / "traces.parquet"
    write_traces(path, calibrated(prompts=20, tokens=50, overconfidence=0.1))

    def printed(setting: Setting) -> str:
        folder = tmp_path / setting.name
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, str(path)],
            cwd=folder,
            env={**setting.environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        # How long it took is no result.
        text = re.sub(r"\b[\d.]+ s\.$", "", done.stdout, flags=re.M)
        return text + (folder / "law.svg").read_text(encoding="utf-8")

    plain = printed(PLAIN)
    assert plain.count("exit code 0") == 5
    assert plain == printed(OWN)
