"""`stopping report`: everything as one page, and a verdict in plain words."""

from pathlib import Path

import click

from empirical.analysis.decisions import MATERIAL
from empirical.commands.options import PATH, material_option, traces_argument
from empirical.data import bundled_evaluations, bundled_traces
from empirical.provenance import command_line
from empirical.report.results import FULL, QUICK, compute, count_steps
from empirical.report.stored import bundled_store
from empirical.report.summary import all_yes
from stopping.cli.numbers import WINDOW
from stopping.cli.options import seed_option, workers_options
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, with_json
from stopping.support.documents import as_json as to_json
from stopping.support.files import Kind, require_writable, write_atomic
from stopping.support.parallel import Workers

PAGE, DATA = "report.html", "report.json"
PAGES = Kind("page of a report", b"Confident Decoding be switched on?</title>")
REPORTS = Kind("report", b'"claims_error":')
EARLY = "Verdicts so far; claims, fits and the page follow"


@click.command()
@traces_argument
@click.option(
    "--evaluation",
    "evaluations",
    type=PATH,
    multiple=True,
    help="Results of `stopping evaluate --out`; may be repeated.",
)
@click.option(
    "--out",
    "folder",
    type=PATH,
    default=Path("report"),
    help=f"Folder for {PAGE} and {DATA}.",
)
@click.option(
    "--window",
    type=WINDOW,
    default=None,
    help="Steps back from the final layer that the search may take. "
    "[default: 10, or as many as the traces allow]",
)
@material_option(MATERIAL)
@click.option("--quick", is_flag=True, help="Fewer resamples and draws: wider intervals.")
@click.option(
    "--fresh", is_flag=True, help="Compute everything now, also what is stored with the package."
)
@click.option("--check", is_flag=True, help="Exit with 1 unless the answer is yes for every model.")
@seed_option
@workers_options
@with_json()
def report(
    traces: tuple[Path, ...],
    evaluations: tuple[Path, ...],
    folder: Path,
    window: int | None,
    material: float,
    quick: bool,
    fresh: bool,
    check: bool,
    seed: int,
    workers: Workers,
) -> Reply:
    """Write one page that says whether to switch Confident Decoding on.

    TRACES are trace files (see `stopping trace`), at most one of each mode and lens for a model;
    without any, the bundled ones are used, with the bundled evaluations. The page checks the
    theory's claims, asks which assumptions hold for each model, what every rule costs or gains and
    what a calibrated lens changes, and shows where its numbers come from.

    The verdicts are shown as soon as they are known, and again as the last thing: one table of
    models. The check of the claims and the fits of the bundled traces take minutes and are stored
    with the package; they are taken from there where files and settings are the same.

    Exit codes: 0 when the report is written; 1 with --check if the answer is not yes for every
    model; 2 after a mistake, or where the page cannot be written.

    \b
    Examples:
      stopping report                                  the bundled models, into report/
      stopping report my.parquet --out my-report       an own model
      stopping report a.parquet b.parquet --window 6   two files, six steps back
      stopping report my.parquet --evaluation my.json  with the problems that were solved
      stopping report my.parquet --quick --check       for scripts: 0 if it should be on
      stopping report --quick --json > report.json     fast, machine-readable
    """
    from empirical.report.page import render_page
    from empirical.report.terminal import show, show_summary

    paths = list(traces) or list(bundled_traces().values())
    bundled = not traces and not evaluations
    solved = list(bundled_evaluations().values() if bundled else evaluations)
    require_writable((folder / PAGE, PAGES), (folder / DATA, REPORTS), inputs=[*paths, *solved])
    effort = QUICK if quick else FULL
    with progress() as bar:
        task = bar.add_task("report", total=count_steps(paths, effort) + 1)
        result = compute(
            paths,
            solved,
            window=window,
            seed=seed,
            effort=effort,
            material=material,
            workers=workers,
            store=None if fresh else bundled_store(bar.console.print),
            command=command_of(traces, evaluations, window, material, quick, seed),
            judged=lambda rows: show_summary(rows, bar.console, EARLY),
            begin=lambda name: bar.update(task, description=name),
            done=lambda: bar.advance(task),
        )
        bar.update(task, description="page")
        page = render_page(result)
    data = to_json(result) + "\n"
    return Reply(
        result,
        lambda out: show(result, out),
        [
            (folder / DATA, lambda path: write_atomic(path, data)),
            (folder / PAGE, lambda path: write_atomic(path, page)),
        ],
        code=1 if check and not all_yes(result.summary) else 0,
        last=lambda out: show_summary(result.summary, out, "Verdicts"),
    )


def command_of(
    traces: tuple[Path, ...],
    evaluations: tuple[Path, ...],
    window: int | None,
    material: float,
    quick: bool,
    seed: int,
) -> str:
    """Return the command line that makes this report again; of paths the last part is kept."""
    settings = [part for path in evaluations for part in ("--evaluation", path.name)]
    settings += ["--window", str(window)] if window is not None else []
    settings += ["--materiality", f"{material:g}"] if material != MATERIAL else []
    settings += ["--quick"] if quick else []
    settings += ["--seed", str(seed)]
    return command_line(["stopping", "report", *(path.name for path in traces), *settings])
