"""What every command shares: where text goes, how progress looks, how results become JSON.

Results go to standard output, progress and errors to standard error, so that `--json` output can
be piped while a bar is shown.
"""

import os

import click
from rich.console import Console

from stopping.errors import UserError
from stopping.support.results import Report
from stopping.support.tables import PAGE
from stopping.support.tables import prose as prose
from stopping.support.tables import table as table

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON on standard output instead of text."
)


def refuse_ignored(where: str, *names: str) -> None:
    """Raise a UserError if the command line has one of these parameters, which `where` ignores."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        # Before click 8.3 files that were not given come from the command line too.
        given = context.params.get(name) != ()
        source = context.get_parameter_source(name)
        if name in names and given and source is click.core.ParameterSource.COMMANDLINE:
            raise UserError(
                f"{parameter.opts[-1]} has no meaning {where}; leave it out, or change the other"
            )


def show(out: Console, report: Report) -> None:
    """Print what a result says of itself."""
    for part in report:
        out.print(prose(part) if isinstance(part, str) else part)


def output() -> Console:
    """Console for results: as wide as the terminal; piped, plain and PAGE or `COLUMNS` wide."""
    console = Console(highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(highlight=False, width=PAGE)
