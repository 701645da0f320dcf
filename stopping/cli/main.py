"""The group: its own commands, those that joined it, and how errors end."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points

import click
from rich.console import Console

from stopping.cli.averages import averages
from stopping.cli.conformance import conformance
from stopping.cli.figures import figures
from stopping.cli.robustness import robustness
from stopping.cli.solve import solve
from stopping.cli.sweep import sweep
from stopping.cli.verify import verify
from stopping.errors import Interrupted, UserError

ENTRY_POINT_GROUP = "stopping.commands"
OWN: dict[str, click.Command] = {
    "averages": averages,
    "conformance": conformance,
    "figures": figures,
    "robustness": robustness,
    "solve": solve,
    "sweep": sweep,
    "verify": verify,
}


class Commands(click.Group):
    """Own commands, and those of installed packages, which are imported only when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in alphabetical order."""
        return sorted({*OWN, *joined()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return an own command, or load the one that another package offers."""
        if cmd_name in OWN:
            return OWN[cmd_name]
        entry = joined().get(cmd_name)
        if entry is None:
            return None
        command = entry.load()
        if not isinstance(command, click.Command):
            raise UserError(f"{entry.value}: the entry point {cmd_name!r} is no click command")
        return command


def joined() -> dict[str, EntryPoint]:
    """Return the commands that installed packages offer, by name."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Run `stopping COMMAND --help` for the options of a command, with examples.",
)
@click.version_option(package_name="layer-stopping", prog_name="stopping")
def group() -> None:
    """Layer selection in LLM decoding as an optimal stopping problem.

    Is the theorem true, how tight is it, does it hold for my model, and shall I switch
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
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        result = run()
    except UserError as error:
        return _mistake(errors, str(error))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        # What click turns into Abort stands as its cause.
        cause = error.__cause__ if isinstance(error, click.Abort) else error
        kept = f"; {cause}" if isinstance(cause, Interrupted) else ""
        errors.print(f"interrupted{kept}", markup=False)
        return 130
    except BrokenPipeError:
        # The reader of a pipe has left (`stopping ... | head`): not an error.
        return 0
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return _mistake(errors, f"{error.filename or 'reading or writing failed'}: {reason}")
    return result if isinstance(result, int) else 0


def _mistake(errors: Console, message: str) -> int:
    errors.print("[bold red]error:[/]", end=" ")
    errors.print(message, markup=False)
    return 2
