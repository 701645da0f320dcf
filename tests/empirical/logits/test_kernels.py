"""The GPU kernels without a GPU: compiled for one. `make test-processors` interprets them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from benchmarks.gpu.choose import choose, number_rows
from empirical.logits.kernels.project import project

POINTERS = {"x": "bf16", "weight": "bf16", "bias": "bf16", "mask": "i1", "z_out": "bf16",
            "z_in": "bf16", "order": "i32", "count": "i32", "top_out": "i32", "top_in": "i32",
            "scans": "i32", "best": "i32", "column": "i32", "goes_on": "i32", "token_out": "i32"}
FLOATS = {"before", "cap", "tau"}
OTHER = {"after", "m_out", "s_out", "t_out", "m_in", "s_in", "t_in", "entropy"}

def compiled(kernel, **constants):
    kinds = {}
    for name in kernel.arg_names:
        if name in constants:
            kinds[name] = "constexpr"
        elif name in POINTERS or name in OTHER:
            kinds[name] = "*" + POINTERS.get(name, "fp32")
        else:
            kinds[name] = "fp32" if name in FLOATS else "i32"
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature=kinds, constexprs=places)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    print(kernel.fn.__name__, "cubin" in made.asm, "mma" in made.asm["ptx"])

compiled(project, HAS_BIAS=True, HAS_MASK=True, HAS_CAP=True, HAS_ORDER=True, STORE=True,
         EXACT=False, BLOCK_ENTRIES=128, BLOCK_ROWS=16, BLOCK_HIDDEN=64)
compiled(choose, HAS_ORDER=True, STORE=True, BLOCK_PARTS=256, BLOCK_ENTRIES=4096)
compiled(number_rows, BLOCK=64)
"""


@pytest.mark.slow
def test_kernels_compile_for_hopper(tmp_path: Path) -> None:
    """To machine code, with tensor-core products, by the assembler that Triton brings along."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    run = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=environment | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.splitlines() == [
        "project True True",
        "choose True False",
        "number_rows True False",
    ]
