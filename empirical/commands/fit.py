"""`stopping fit`: the stochastic model on real tokens, and whether to believe it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress, TaskID

from empirical.commands.options import PATH, replicates_option, traces_argument, window_option
from empirical.data import bundled_traces
from empirical.figures.fits import draw_fits
from empirical.fitting.check import RUNS, Check, check
from empirical.fitting.compare import DEFAULT, RESOLUTION, Treatment
from empirical.fitting.fit import REFITS, STEPS, Fit, fit_traces, write_fit
from empirical.fitting.worlds import WORLDS
from empirical.provenance import command_line
from empirical.traces.files import Traces, read_traces
from stopping.changepoint import Scale
from stopping.changepoint.model import FORMAT
from stopping.cli.lazy import WithMore
from stopping.cli.options import FILE, Kept, figure_option, jobs_option, resume_options, seed_option
from stopping.cli.progress import counting, progress
from stopping.cli.reply import Reply, of_each, with_json
from stopping.cli.ui import refuse_ignored, show
from stopping.errors import UserError
from stopping.figures.theme import saving
from stopping.support.files import FIGURE, require_writable
from stopping.support.parallel import Workers

SCALES = ("nats", "log", "softplus")


@click.command(cls=WithMore, more={"beliefs": "empirical.commands.fit_beliefs:beliefs"})
@traces_argument
@window_option
@click.option("--out", type=FILE, help="Save the model here (JSON), for `stopping solve`.")
@click.option(
    "--calibrated",
    type=PATH,
    help="Traces of the same tokens through a calibrated lens: measures the noise directly.",
)
@click.option(
    "--compare/--no-compare",
    default=True,
    help="Choose the treatment of skewed entropies by held-out likelihood.",
)
@click.option(
    "--scale",
    type=click.Choice(SCALES),
    help="Fit on this scale, without a comparison of treatments.",
)
@click.option("--classes", type=click.IntRange(1, 6), help="Latent classes, with --scale.")
@click.option(
    "--final-noise",
    type=click.Choice(["none", "tied"]),
    default="none",
    help="Convention for the final layer's noise, which no data identify.",
)
@click.option(
    "--layer-types",
    metavar="A,B,...",
    help="Type of each layer of the window, first to last, for jumps between types.",
)
@click.option(
    "--refits",
    type=click.IntRange(0, 10_000),
    default=REFITS,
    help="Refits on resampled prompts; 0 leaves the bootstrap out.",
)
@click.option(
    "--check",
    "checking",
    is_flag=True,
    help="Fit no traces: study in simulated worlds how often what a fit says is right.",
)
@click.option(
    "--runs",
    type=click.IntRange(1, 100_000),
    default=RUNS,
    show_default=True,
    help="Data sets of each world, with --check.",
)
@replicates_option
@figure_option("the profiles")
@jobs_option
@seed_option
@resume_options
@with_json()
def fit(
    traces: tuple[Path, ...],
    K: int,
    out: Path | None,
    calibrated: Path | None,
    compare: bool,
    scale: str | None,
    classes: int | None,
    final_noise: Any,
    layer_types: str | None,
    refits: int,
    checking: bool,
    runs: int,
    replicates: int,
    figure: Path | None,
    seed: int,
    jobs: int | None,
    kept: Kept,
) -> Reply:
    """Fit the Gaussian change-point model to traced tokens, and test the fit.

    TRACES are trace files (see `stopping trace`); without any, the bundled ones are fitted. The
    model is fitted to half of the prompts and predicts the other half before it is fitted to all:
    treatments and simpler models by held-out likelihood, predictions against what the search does,
    T2 and T14 at the fitted parameters, and the noise seen in ways that share no assumption. Noise
    is what neighbouring layers do not share: an error that they share counts as a change of
    entropy, and is tested for, not fitted.

    \b
    Examples:
      stopping fit                                      the bundled traces
      stopping fit my.parquet --out FIT.json            save the model for `stopping solve`
      stopping fit my.parquet --calibrated cal.parquet  measure the noise directly as well
      stopping fit my.parquet --scale nats --classes 1  the plain Gaussian model
      stopping fit my.parquet --figure fit.svg          draw turning points and noise
      stopping fit my.parquet --json > f.json           everything, machine-readable
      stopping fit --check --runs 5                     coverage and misfit where truth is known
      stopping fit --check --resume runs.jsonl          the whole study, to be resumed
    """
    if checking:
        refuse_ignored("with --check", *NOT_CHECKED)
        return _checked(runs, seed, Workers(jobs), kept)
    refuse_ignored("without --check", "runs", "resume", "fresh")
    if compare and (scale is not None or classes is not None):
        refuse_ignored("with --scale or --classes", "compare")
    treatment = chosen_treatment(scale, classes, compare)
    paths = list(traces) or list(bundled_traces().values())
    if len(paths) > 1 and (out is not None or calibrated is not None):
        raise UserError("--out and --calibrated belong to one trace file; name it")
    read = [*paths, *(() if calibrated is None else (calibrated,))]
    require_writable((out, FORMAT.kind), (figure, FIGURE), inputs=read)
    types = None if layer_types is None else [t.strip() for t in layer_types.split(",")]
    other = None if calibrated is None else read_traces(calibrated)
    results: list[tuple[str, Traces, Fit]] = []
    with progress() as bar:
        task = bar.add_task("fit", total=STEPS * len(paths))
        for path in paths:
            one = read_traces(path)
            result = fit_traces(
                one,
                K,
                seed=seed,
                replicates=replicates,
                refits=refits,
                jobs=Workers(jobs).processes,
                treatment=treatment,
                final_noise=final_noise,
                types=types,
                calibrated=other,
                step=_Steps(bar, task, path.stem),
            )
            results.append((path.name, one, result))

    def save(path: Path) -> None:
        name, one, result = results[0]
        command = ["stopping", "fit", name, "--window", str(K), "--seed", str(seed)]
        write_fit(path, result, one, {"command": command_line(command), "file": name})

    named = [(name, result) for name, _, result in results]
    files = [(out, save), (figure, saving(draw_fits, [result for _, result in named]))]
    return of_each(named, "fit", lambda name, result: result.report(name), files)


NOT_CHECKED = (
    *("traces", "K", "out", "calibrated", "compare", "scale", "classes", "final_noise"),
    *("layer_types", "refits", "replicates", "figure"),
)
"""Options of a fit to traces."""


def _checked(runs: int, seed: int, workers: Workers, kept: Kept) -> Reply:
    with counting("data sets", runs * len(WORLDS), alike=True) as advance:
        found: Check = check(
            runs,
            seed=seed,
            workers=workers,
            journal=kept.path,
            fresh=kept.fresh,
            advance=advance,
        )
    return Reply(found, lambda out: show(out, found.report()))


def chosen_treatment(scale: str | None, classes: int | None, compare: bool) -> Treatment | None:
    """Return the treatment that the options ask for; None leaves the choice to held-out prompts."""
    if scale is None:
        if classes is not None:
            return replace(DEFAULT, classes=classes)
        return None if compare else DEFAULT
    scales = {"nats": Scale(), "log": Scale(RESOLUTION), "softplus": DEFAULT.scale}
    return Treatment(scales[scale], classes or DEFAULT.classes)


class _Steps:
    """Advance the bar at each step and say what it is."""

    def __init__(self, bar: Progress, task: TaskID, name: str) -> None:
        self.bar, self.task, self.name = bar, task, name

    def __call__(self, what: str) -> None:
        self.bar.update(self.task, advance=1, description=f"{self.name}: {what}")
