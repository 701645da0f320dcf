"""`import stopping` and `import empirical`: the main names, imported when they are touched."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import empirical
import stopping
from stopping import theory


@pytest.mark.parametrize("package", [stopping, empirical])
def test_every_name_is_there_and_is_what_the_type_checker_sees(package: object) -> None:
    name = package.__name__  # type: ignore[attr-defined]
    source = Path(importlib.import_module(name).__file__ or "").read_text(encoding="utf-8")
    seen = {
        alias.name: node.module
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == name
        for alias in node.names
        if node.module != "stopping.support.lazy"
    }
    homes = importlib.import_module(name)._HOMES
    assert seen == homes
    assert set(homes) | {"__version__"} == set(importlib.import_module(name).__all__)
    for public in importlib.import_module(name).__all__:
        assert getattr(package, public) is not None
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        _ = package.serach  # type: ignore[attr-defined]


@pytest.mark.slow
def test_importing_costs_nothing() -> None:
    ask = (
        "import sys, stopping, empirical\n"
        "heavy = {'numpy', 'scipy', 'pyarrow', 'torch', 'matplotlib'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "empirical.validate, empirical.audit, empirical.read_traces, stopping.Search\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_table_of_theorems_names_what_is_there() -> None:
    table = theory.__doc__ or ""
    assert all(f"| T{k} |" in table for k in range(1, 14))
    folder = Path(theory.__file__).parent
    for word in table.split("`")[1::2]:
        module, _, function = word.partition(".")
        if (folder / f"{module}.py").is_file():
            found = importlib.import_module(f"stopping.theory.{module}")
            assert not function or callable(getattr(found, function)), word
