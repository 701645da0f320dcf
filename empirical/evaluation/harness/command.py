"""The harness's own command line, with our model and tasks known to it.

The harness has no plug-ins: a model class is known once it has been imported, and tasks are looked
for in one folder. So this imports the class, writes the task files into a folder that goes with the
process, links a user's own beside them, and lets the harness do the rest.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lm_eval.__main__ import cli_evaluate
from lm_eval._cli import HarnessCLI
from pytablewriter import MarkdownTableWriter  # type: ignore[import-untyped]

import empirical.evaluation.harness.model  # noqa: F401  # makes "confident" known
from empirical.decoding.rivals import decoder_of
from empirical.evaluation.harness.local_tasks import write_tasks
from empirical.evaluation.harness.mistakes import as_mistakes, require_sound
from stopping.errors import UserError

_SUBCOMMANDS = ("run", "ls", "validate")


def run_harness(arguments: Sequence[str]) -> None:
    """Run the harness as its command line does, with our defaults where nothing is given.

    The harness may end the process, as its command line does.

    Raises
    ------
    UserError
        If an argument cannot be meant, or the harness ends with an error.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    before = sys.argv
    with tempfile.TemporaryDirectory(prefix="stopping-tasks-") as folder, headings():
        sys.argv = ["lm-eval", *completed(arguments, write_tasks(Path(folder)))]
        try:
            with as_mistakes("lm-eval"):
                options = HarnessCLI().parse_args()
                if options.command == "run":
                    require_sound(options)
                    if options.model == "confident":
                        require_decoder(options.model_args or {})
                cli_evaluate()
        finally:
            sys.argv = before


@contextmanager
def headings() -> Iterator[None]:
    """Let the harness's tables have their headings under every release of pytablewriter.

    The harness sets `headers`, which releases before 1.0 call `header_list`: they print letters.
    """
    if hasattr(MarkdownTableWriter, "headers"):
        yield
        return
    MarkdownTableWriter.headers = property(
        lambda writer: writer.header_list,
        lambda writer, names: setattr(writer, "header_list", names),
    )
    try:
        yield
    finally:
        del MarkdownTableWriter.headers


def require_decoder(given: Mapping[str, object]) -> None:
    """Read the decoder now: the harness reads its thousands of task files before it makes a model.

    Raises
    ------
    UserError
        If the decoder is not understood.
    """
    rule = str(given.get("rule", "search"))
    decoder_of(rule, *(given.get(name) for name in ("window", "p", "norm")))


def completed(arguments: Sequence[str], tasks: Path) -> list[str]:
    """Add the subcommand and the model where they are not given, and the folder of our tasks."""
    given = list(arguments)
    if given and given[0] not in _SUBCOMMANDS and given[0].startswith("-"):
        given.insert(0, "run")
    asks = any(flag in given for flag in ("-h", "--help"))
    if not given or asks:
        return given
    if given[0] == "run" and not _has(given, "--model", "-M"):
        given += ["--model", "confident"]
    given, folder = _without(given, "--include_path")
    if folder is not None:
        link_tasks(Path(folder), tasks)
    return [*given, "--include_path", str(tasks)]


def link_tasks(folder: Path, tasks: Path) -> None:
    """Link the files of a user's folder of tasks into a subfolder of ours.

    Raises
    ------
    UserError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"--include_path: {folder}: no such folder")
    # Folders are made and files linked: the harness does not follow links to folders.
    shutil.copytree(folder.resolve(), tasks / "included", copy_function=os.symlink)


def _without(arguments: Sequence[str], flag: str) -> tuple[list[str], str | None]:
    """Take an option and its value out; the last value counts."""
    kept: list[str] = []
    value: str | None = None
    rest = iter(arguments)
    for argument in rest:
        if argument == flag:
            value = next(rest, None)
        elif argument.startswith(f"{flag}="):
            value = argument.partition("=")[2]
        else:
            kept.append(argument)
    return kept, value


def _has(arguments: Sequence[str], *flags: str) -> bool:
    return any(a == f or a.startswith(f"{f}=") for a in arguments for f in flags)
