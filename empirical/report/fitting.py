"""The report's section on the fitted model: which files are fitted, and what the page shows of it.

Every file is fitted on its own. Treatments and simpler models are compared once for each model, on
the raw lens and reference answers; the other files take the package's default treatment. A file
that cannot be fitted (too few prompts or tokens, a constant layer) is listed with the reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from empirical.analysis.projection_noise import shared_tokens
from empirical.figures.fits import draw_noise, draw_turning
from empirical.fitting.compare import DEFAULT
from empirical.fitting.fit import COMPARED_PROMPTS, Fit, fit_traces
from empirical.report.sources import Source
from empirical.report.stored import Inputs, Store
from empirical.report.verdict import lens_kind
from stopping.errors import UserError
from stopping.figures.inline import drawn_svg
from stopping.support.parallel import Workers, in_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "fit"
STARTS = 4
VERSION = 4
"""Raised whenever the same files and settings give another fit than before."""
SHOWN = (
    "share moved",
    "depth of the search",
    "projections per token",
    "entropy above the lowest, search",
    "entropy above the lowest, final layer",
)
"""Predictions that the page lists."""


@dataclass(frozen=True)
class FileFit:
    """The fit of one trace file, or why there is none."""

    file: str
    model: str
    lens: str
    mode: str
    fit: Fit | None
    why_not: str | None

    @property
    def label(self) -> str:
        """Short name: the model, the kind of lens, the kind of text."""
        return f"{self.model}, {'raw' if self.lens == 'raw' else 'calibrated'}, {self.mode}"


@dataclass(frozen=True, eq=False)
class FitJob:
    """The fit of one trace file with all that it depends on; a call does it.

    `calibrated` are the same tokens through a calibrated lens, where there are any.
    """

    source: Source
    K: int
    seed: int
    replicates: int
    refits: int
    calibrated: Source | None

    @property
    def label(self) -> str:
        """What is fitted."""
        origin = self.source.traces.provenance
        return f"fit of {origin.model}, {lens_kind(origin.lens)}, {origin.mode}"

    @property
    def inputs(self) -> Inputs:
        """What made the fit: files by their SHA-256, and settings."""
        return {
            "sha256": self.source.sha256,
            "calibrated": None if self.calibrated is None else self.calibrated.sha256,
            "window": self.K,
            "seed": self.seed,
            "replicates": self.replicates,
            "refits": self.refits,
            "starts": STARTS,
            "default": DEFAULT.name,
            "version": VERSION,
        }

    def __call__(self) -> FileFit:
        """Fit; a file that cannot be fitted says why."""
        traces = self.source.traces
        origin = traces.provenance
        enough = len(np.unique(traces.prompt)) >= COMPARED_PROMPTS
        choose = enough and origin.lens == "raw" and origin.mode == "reference"
        fitted, why = None, None
        try:
            fitted = fit_traces(
                traces,
                self.K,
                seed=self.seed,
                replicates=self.replicates,
                refits=self.refits,
                starts=STARTS,
                treatment=None if choose else DEFAULT,
                calibrated=None if self.calibrated is None else self.calibrated.traces,
            )
        except UserError as error:
            why = str(error)
        return FileFit(self.source.name, origin.model, origin.lens, origin.mode, fitted, why)


def fit_jobs(
    sources: Sequence[Source],
    window: int | None,
    deepest: int,
    seed: int,
    replicates: int,
    refits: int | None,
) -> tuple[FitJob, ...]:
    """Return a job for every file; none if `refits` is None."""
    if refits is None:
        return ()
    return tuple(
        FitJob(
            source,
            min(deepest, len(source.traces.layers) - 1) if window is None else window,
            seed,
            replicates,
            refits,
            _calibrated_source(source, sources),
        )
        for source in sources
    )


def fit_files(
    jobs: Sequence[FitJob],
    store: Store | None = None,
    workers: Workers | None = None,
    begin: Callable[[str], object] = lambda _: None,
    done: Callable[[], object] = lambda: None,
) -> tuple[tuple[FileFit, ...], int]:
    """Do every job that `store` does not hold; also return how many it holds.

    `begin` is called before each with its label, and `done` after it.
    """
    kept: list[FileFit | None] = [
        None if store is None else store.find(KIND, job.inputs, FileFit) for job in jobs
    ]
    missing = [job for job, found in zip(jobs, kept, strict=True) if found is None]
    computed = in_order(missing, workers)
    fits: list[FileFit] = []
    for job, found in zip(jobs, kept, strict=True):
        begin(job.label)
        fits.append(replace(found or next(computed), file=job.source.name))
        done()
    return tuple(fits), len(jobs) - len(missing)


def _calibrated_source(raw: Source, sources: Sequence[Source]) -> Source | None:
    """The same run through a calibrated lens, for raw traces."""
    own = raw.traces.provenance
    if own.lens != "raw":
        return None
    for other in sources:
        origin = other.traces.provenance
        if origin.lens != "raw" and origin.texts == own.texts:
            places = shared_tokens(raw.traces, other.traces)[0].prompt
            return other if len(np.unique(places)) > 1 else None
    return None


def profiles_svg(fits: Sequence[FileFit]) -> str | None:
    """One figure: turning points and noise by layer, a row for each model; None without a fit."""
    usable = [row for row in fits if row.fit is not None]
    models = list(dict.fromkeys(row.model for row in usable))
    if not models:
        return None

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(len(models), 2, squeeze=False)
        for (left, right), model in zip(axes, models, strict=True):
            fits = [row.fit for row in usable if row.model == model and row.fit is not None]
            draw_turning(left, fits)
            draw_noise(right, fits)
            left.set_title(model)

    title = "Fitted turning points and noise by layer"
    return drawn_svg(draw, "fits", title, (9.2, 3.2 * len(models)))
