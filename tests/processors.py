"""The numerical tests as other processors and numbers of threads would compute them.

    python -m tests.processors

Libraries of linear algebra choose their code by the processor's instructions and split sums among
threads; results differ in their last bits. Tests marked `numerical` are run once for each of a few
settings, and what commands print and draw is compared; settings that this processor cannot show are
left out. What a GPU would compute, its kernels in Triton's interpreter, is run once.
Exit code 1 if any failed.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from empirical.traces.files import write_traces
from tests.empirical.synthetic import calibrated

ROOT = Path(__file__).parents[1]
CORE = np._core._multiarray_umath  # type: ignore[attr-defined]
OPTIONS = ("-q", "-n", "auto", "-p", "no:cacheprovider")
# What older releases of Triton's interpreter do, NumPy now deprecates.
FORGIVEN = ("-W", "ignore:Conversion of an array:DeprecationWarning")
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
THREADS = ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM")


@dataclass(frozen=True)
class Setting:
    """Instructions and threads, as environment variables tell them to the libraries.

    Attributes
    ----------
    instructions : variables of the libraries; none for all that the processor has.
    needs : what NumPy must find in this processor, or "" if nothing is asked of it.
    """

    name: str
    threads: int
    instructions: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, so that the libraries obey the setting."""
        counts = {f"{name}_NUM_THREADS": str(self.threads) for name in THREADS}
        # Threads that wait leave the core to the other test processes.
        waiting = {"OMP_WAIT_POLICY": "PASSIVE"}
        return {**os.environ, **self.instructions, **counts, **waiting}

    @property
    def possible(self) -> bool:
        """Whether this processor has what the setting needs."""
        return not self.needs or bool(CORE.__cpu_features__.get(self.needs))


def numpy_without(*prefixes: str) -> dict[str, str]:
    """Switch off NumPy's own code for instructions whose names begin so; the rest stays on."""
    found = [name for name in CORE.__cpu_dispatch__ if CORE.__cpu_features__[name]]
    off = [name for name in found if name.startswith(prefixes)]
    return {"NPY_DISABLE_CPU_FEATURES": " ".join(off)} if off else {}


PLAIN = Setting(
    "plain x86-64",
    1,
    {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OPENBLAS_CORETYPE": "Nehalem",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        **numpy_without(""),
    },
    needs="SSE3",
)
AVX2 = Setting(
    "AVX2",
    2,
    {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        **numpy_without("AVX512", "X86_V4"),
    },
    needs="AVX2",
)
OWN = Setting("this processor", 1)
SETTINGS = (PLAIN, AVX2, OWN, Setting("this processor", 2))


def main() -> int:
    """Run the numerical tests under every setting; 1 if any failed."""
    # The others are not even imported: some take longer for that than all of these to run.
    tests = sorted(Path(ROOT, "tests").rglob("test_*.py"))
    files = [str(path) for path in tests if "pytest.mark.numerical" in path.read_text("utf-8")]
    right = True
    for setting in SETTINGS:
        title = f"{setting.name}, threads: {setting.threads}"
        if setting.possible:
            # The same draws under every setting.
            environment = {**setting.environment, "HYPOTHESIS_PROFILE": "ci"}
            right &= passed(title, environment, "-m", "numerical", *files)
        else:
            print(f"left out  {title}: this processor has no {setting.needs}", flush=True)
    # Their process must have chosen the interpreter before it imports Triton.
    checks = sorted(map(str, Path(ROOT, "tests").rglob("interpreted/check_*.py")))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1"}
    right &= passed("a GPU's kernels, interpreted", environment, *FORGIVEN, *checks)
    alike = not PLAIN.possible or printed(PLAIN) == printed(OWN)
    print(f"{'passed' if alike else 'FAILED'}    what commands print and draw", flush=True)
    return int(not (right and alike))


def passed(title: str, environment: Mapping[str, str], *asked: str) -> bool:
    """Run tests under an environment and say in a line whether they passed."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *asked],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        print(done.stdout)
    summary = done.stdout.strip().splitlines()[-1:] or ["nothing was run"]
    verdict = "passed" if done.returncode == 0 else "FAILED"
    print(f"{verdict}    {title}: {summary[0]} ({time.monotonic() - start:.0f} s)", flush=True)
    return done.returncode == 0


def printed(setting: Setting) -> str:
    """What a few commands print and draw under a setting, but for how long they took."""
    with tempfile.TemporaryDirectory() as folder:
        traces = Path(folder, "traces.parquet")
        write_traces(traces, calibrated(prompts=20, tokens=50, overconfidence=0.1))
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, traces.name],
            cwd=folder,
            env={**setting.environment, "PYTHONPATH": str(ROOT)},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        text = re.sub(r"\b[\d.]+ s\.$", "", done.stdout, flags=re.M)
        assert text.count("exit code 0") == 5, text
        return text + Path(folder, "law.svg").read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
