"""The table of mutants stays true: every error can be made, and its test is there.

That each is killed takes an hour: `python -m tests.mutants`.
"""

import re
from pathlib import Path

import pytest

from tests.mutants import ROOT, Mutant, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_made(mutant: Mutant, tmp_path: Path) -> None:
    copy = tmp_path / mutant.file
    copy.parent.mkdir(parents=True)
    copy.write_text((ROOT / mutant.file).read_text("utf-8"), "utf-8")
    mutant.apply(tmp_path)
    compile(copy.read_text("utf-8"), mutant.file, "exec")
    file, _, test = mutant.test.partition("::")
    assert re.search(rf"def {test}\b", (ROOT / file).read_text("utf-8"))


def test_a_text_that_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    for old, times in (("y = 1", 0), ("x = 1", 2)):
        with pytest.raises(ValueError, match=f"{times} times in a.py"):
            Mutant("m", "a.py", old, "", "t").apply(tmp_path)


def test_names_are_distinct() -> None:
    names = [mutant.name for mutant in mutants()]
    assert len(set(names)) == len(names)
