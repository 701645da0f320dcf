"""One deliberate error at a time, in a copy of the tree: the test named with it must fail.

    python -m tests.mutants              all of tests/mutants.toml
    python -m tests.mutants T9 engine    those whose name or file has one of these in it
    python -m tests.mutants --list       their names

A test that passes on a mutant does not test what it says. Exit code 1 if a mutant survives; a text
to replace that is no longer there is an error.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_suffix(".toml")
COPIED = ("stopping", "empirical", "tests", "benchmarks", "book", "pyproject.toml")
FAILED = 1
"""Exit code of pytest where a test failed; others mean that none was run."""


@dataclass(frozen=True)
class Mutant:
    """One error: `old` stands once in `file` and becomes `new`; then `test` fails."""

    name: str
    file: str
    old: str
    new: str
    test: str

    def apply(self, root: Path) -> None:
        """Make the error in the tree at `root`.

        Raises
        ------
        ValueError
            If the text to replace does not stand there exactly once.
        """
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {text.count(self.old)} times in {self.file}, not once")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")

    def killed(self) -> bool:
        """Whether its test fails in a copy of the tree."""
        with tempfile.TemporaryDirectory() as folder:
            for name in COPIED:
                source, target = ROOT / name, Path(folder) / name
                if source.is_dir():
                    ignored = shutil.ignore_patterns("__pycache__", "_build")
                    shutil.copytree(source, target, ignore=ignored)
                else:
                    shutil.copy(source, target)
            self.apply(Path(folder))
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", self.test],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": folder, "HYPOTHESIS_PROFILE": "ci"},
                capture_output=True,
                text=True,
            )
        if done.returncode not in (0, FAILED):
            raise RuntimeError(f"{self.name}: {self.test} cannot be run\n{done.stdout[-2000:]}")
        return done.returncode == FAILED


def mutants(names: Sequence[str] = ()) -> list[Mutant]:
    """Read the table: all of it, or those whose name or file contains one of `names`."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutant"]
    every = [Mutant(**row) for row in rows]
    return [
        mutant
        for mutant in every
        if not names or any(name in mutant.name or name in mutant.file for name in names)
    ]


def main(arguments: Sequence[str]) -> int:
    """Try the mutants one after the other and say what became of each."""
    if "--list" in arguments:
        print(*(f"{mutant.file}: {mutant.name}" for mutant in mutants()), sep="\n")
        return 0
    alive = 0
    for mutant in mutants(arguments):
        killed = mutant.killed()
        alive += not killed
        print(f"{'killed  ' if killed else 'SURVIVES'}  {mutant.file}: {mutant.name}", flush=True)
    return int(alive > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
