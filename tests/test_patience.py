"""No test may fail because the machine is slow: none states how long something takes at most."""

import re
from pathlib import Path

ROOT = Path(__file__).parent
LIMITS = re.compile(r"\btimeout=\d|\.wait\(\d|\.join\(\d|deadline=\d|deadline = time\.|elapsed <")


def test_no_test_limits_the_time_of_what_it_runs() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in ROOT.rglob("*.py")
        if path != Path(__file__)
        for line in path.read_text(encoding="utf-8").splitlines()
        if LIMITS.search(line)
    ]
    assert found == []
