"""`stopping report`: everything as one page, and a verdict in plain words."""

import os
from pathlib import Path

import click

from empirical.commands.targets import traces_argument
from empirical.data import bundled_evaluations, bundled_traces
from empirical.provenance import command_line
from empirical.report.results import FULL, QUICK, Report, compute, count_steps
from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import json_option, output, progress, seed_option, workers_options
from stopping.errors import UserError
from stopping.files import write_atomic
from stopping.parallel import Workers

PAGE, DATA = "report.html", "report.json"


@click.command()
@traces_argument
@click.option(
    "--evaluation",
    "evaluations",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Results of `stopping evaluate --out`; may be repeated.",
)
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("report"),
    show_default=True,
    help=f"Folder for {PAGE} and {DATA}.",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    default=None,
    help="Steps back from the last layer that the search may take. "
    "[default: 10, or as many as the traces allow]",
)
@click.option("--quick", is_flag=True, help="Fewer resamples and draws: wider intervals.")
@seed_option
@workers_options
@json_option
def report(
    traces: tuple[Path, ...],
    evaluations: tuple[Path, ...],
    folder: Path,
    window: int | None,
    quick: bool,
    seed: int,
    workers: Workers,
    as_json: bool,
) -> None:
    """Write one page that says whether to switch Confident Decoding on.

    TRACES are trace files (see `stopping trace`), at most one of each mode and lens for a model;
    without any, the bundled ones are used, with the bundled evaluations. The page checks the
    theory's claims, asks which assumptions hold for each model, what every rule costs or gains and
    what a calibrated lens changes, and shows where its numbers come from.

    \b
    Examples:
      stopping report                                  the bundled models, into report/
      stopping report my.parquet --out my-report       an own model
      stopping report a.parquet b.parquet --window 6   two files, six steps back
      stopping report my.parquet --evaluation my.json  with the problems that were solved
      stopping report --quick --json > report.json     fast, machine-readable
    """
    paths = list(traces) or list(bundled_traces().values())
    if not traces and not evaluations:
        solved = list(bundled_evaluations().values())
    else:
        solved = list(evaluations)
    require_folder(folder)
    with progress() as bar:
        task = bar.add_task("report", total=count_steps(paths) + 1)
        result = compute(
            paths,
            solved,
            window=window,
            seed=seed,
            effort=QUICK if quick else FULL,
            workers=workers,
            command=command_of(traces, evaluations, window, quick, seed),
            begin=lambda name: bar.update(task, description=name),
            done=lambda: bar.advance(task),
        )
        bar.update(task, description="page")
        write(result, folder)
    if as_json:
        click.echo(to_json(result))
        return
    from empirical.report.terminal import show

    out = output()
    show(result, out)
    out.print(f"\nWrote {folder / PAGE} and {folder / DATA}.", markup=False, soft_wrap=True)


def require_folder(folder: Path) -> None:
    """Raise `UserError` before any work is done if the report could not be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot make this folder ({error.strerror}); name another with --out"
        ) from error
    if not writable:
        raise UserError(f"{folder}: this folder cannot be written to; name another with --out")


def command_of(
    traces: tuple[Path, ...],
    evaluations: tuple[Path, ...],
    window: int | None,
    quick: bool,
    seed: int,
) -> str:
    """Return the command line that makes this report again; of paths the last part is kept."""
    settings = [part for path in evaluations for part in ("--evaluation", path.name)]
    settings += ["--window", str(window)] if window is not None else []
    settings += ["--quick"] if quick else []
    settings += ["--seed", str(seed)]
    return command_line(["stopping", "report", *(path.name for path in traces), *settings])


def write(result: Report, folder: Path) -> None:
    """Write both files, each whole or not at all."""
    from empirical.report.page import render_page

    page = render_page(result)
    write_atomic(folder / DATA, to_json(result) + "\n")
    write_atomic(folder / PAGE, page)
