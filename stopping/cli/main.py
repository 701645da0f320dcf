"""The group: its own commands, those that joined it, and how errors end."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec

import click

from stopping.cli.lazy import load, write_list
from stopping.errors import Interrupted, UserError

ENTRY_POINT_GROUP = "stopping.commands"
OWN: dict[str, str] = {
    name: f"stopping.cli.{name}:{name}" for name in ("conformance", "solve", "sweep", "verify")
}


class Commands(click.Group):
    """Own commands, and those of installed packages, each imported only when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in alphabetical order."""
        return sorted(places())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        place = places().get(cmd_name)
        return None if place is None else load(cmd_name, place)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with the first sentence of their docstrings."""
        write_list(formatter, "Commands", places())


@cache
def places() -> dict[str, str]:
    """Where each command stands, `module:name`; own ones cannot be replaced.

    What an older installation has left behind, whose module is gone, is no command. Read once: what
    is installed stays the same while a process runs.
    """
    joined = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return {n: entry.value for n, entry in joined.items() if find_spec(entry.module)} | OWN


@click.command(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,  # of every option of every command
    },
    epilog="`stopping COMMAND --help` shows options, examples, and further commands below it.",
)
@click.version_option(package_name="layer-stopping", prog_name="stopping")
def group() -> None:
    """Layer selection in LLM decoding as an optimal stopping problem.

    Is the theorem true, how tight is it, does it hold for my model, and should I switch
    Confident Decoding on? Start with `stopping report`.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake exits with 2 and no traceback."""
    code = exit_code(lambda: group.main(arguments, prog_name="stopping", standalone_mode=False))
    try:
        sys.stdout.flush()
    except OSError:
        # It has been said, or is none; Python would try again and complain in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def exit_code(run: Callable[[], object]) -> int:
    """Run `run` and turn its outcome into the process's exit code."""
    try:
        result = run()
    except UserError as error:
        return _mistake(str(error))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        # Abort is what click made of it.
        cause = error.__context__ if isinstance(error, click.Abort) else error
        kept = f"; {cause}" if isinstance(cause, Interrupted) else ""
        click.echo(f"interrupted{kept}", err=True)
        return 130
    except BrokenPipeError:
        # The reader of a pipe has left (`stopping ... | head`): not an error.
        return 0
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return _mistake(f"{error.filename or 'reading or writing failed'}: {reason}")
    return result if isinstance(result, int) else 0


def _mistake(message: str) -> int:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
    return 2
