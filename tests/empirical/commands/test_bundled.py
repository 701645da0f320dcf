"""Commands take the bundled traces where no file is given, as the examples of their help do."""

import json

import pytest

from empirical.data import bundled_traces
from stopping.cli.main import exit_code, group

OF_REFERENCE = {name for name in bundled_traces() if ".reference" in name}
RAW = {name for name in OF_REFERENCE if not name.endswith(".temperature")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "taken"),
    [
        (("audit", "--replicates", "100"), set(bundled_traces())),
        (("audit", "phases", "--replicates", "100"), RAW),
        (("certify",), OF_REFERENCE),
    ],
    ids=lambda of: of[0] if isinstance(of, tuple) else "",
)
def test_it_runs_without_a_file(
    command: tuple[str, ...], taken: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(lambda: group.main([*command, "--json"], standalone_mode=False)) == 0
    assert {result["traces"] for result in json.loads(capsys.readouterr().out)} == taken
