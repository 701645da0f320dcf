"""The harness's own command line, with our model and tasks known to it.

The harness has no plug-ins: a model class is known once it has been imported, and tasks are looked
for in one folder. So this imports the class, writes the task files into a folder that goes with the
process, and lets the harness do the rest.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lm_eval.__main__ import cli_evaluate

import empirical.harness.model  # noqa: F401  # makes "confident" known
from empirical.harness.twins import write_tasks

_SUBCOMMANDS = ("run", "ls", "validate")


def run_harness(arguments: Sequence[str]) -> None:
    """Run the harness as its command line does, with our defaults where nothing is given.

    The harness may end the process, as its command line does.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    before = sys.argv
    with tempfile.TemporaryDirectory(prefix="stopping-tasks-") as folder:
        sys.argv = ["lm-eval", *completed(arguments, write_tasks(Path(folder)))]
        try:
            cli_evaluate()
        finally:
            sys.argv = before


def completed(arguments: Sequence[str], tasks: Path) -> list[str]:
    """Add the subcommand, the model and the folder of our tasks where they are not given."""
    given = list(arguments)
    if given and given[0] not in _SUBCOMMANDS and given[0].startswith("-"):
        given.insert(0, "run")
    asks = any(flag in given for flag in ("-h", "--help"))
    if not given or asks:
        return given
    if given[0] == "run" and not _has(given, "--model", "-M"):
        given += ["--model", "confident"]
    if not _has(given, "--include_path"):
        given += ["--include_path", str(tasks)]
    return given


def _has(arguments: Sequence[str], *flags: str) -> bool:
    return any(a == f or a.startswith(f"{f}=") for a in arguments for f in flags)
