"""Everything that the page says, computed and typed: trace files in, `Report` out.

Traces are grouped by model and lens. Reference traces decide; traces of the model's own text are
shown for the statistics of entropy alone. `report.json` is this object and nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from empirical.analysis.audit import Audit, audit
from empirical.analysis.decisions import MATERIAL
from empirical.analysis.validate import Validation, validate
from empirical.evaluation.run import Evaluation, read_evaluation
from empirical.provenance import Provenance, library_versions
from empirical.report.calibration import CalibrationEffect, calibration_effects
from empirical.report.claims import checked_claims
from empirical.report.curves import Curves, curves
from empirical.report.fitting import FileFit, fit_files, fit_jobs
from empirical.report.sources import Source, read_sources
from empirical.report.stored import Origin, Store
from empirical.report.summary import SummaryRow, summary_row
from empirical.report.verdict import ModelVerdict, judge
from empirical.traces.window import take_sample
from stopping.claims import Finding
from stopping.errors import UserError
from stopping.support.parallel import Workers

WINDOW = 10


@dataclass(frozen=True)
class Effort:
    """How much is drawn: bootstrap resamples of prompts, draws per claim (1 is the default), and
    refits of the change-point model on resampled prompts (None: it is not fitted).
    """

    replicates: int
    claims: float
    refits: int | None = None


FULL = Effort(replicates=1000, claims=1.0, refits=20)
QUICK = Effort(replicates=200, claims=0.25)


@dataclass(frozen=True)
class TraceResult:
    """All results on one trace file; `sha256` is that of the file."""

    file: str
    sha256: str
    prompts: int
    tokens: int
    provenance: Provenance
    audit: Audit
    validation: Validation
    curves: Curves


@dataclass(frozen=True)
class ModelResult:
    """One model read through one lens; at least one of the two modes is there."""

    model: str
    lens: str
    reference: TraceResult | None
    generated: TraceResult | None
    verdict: ModelVerdict

    @property
    def main(self) -> TraceResult:
        """Reference traces where there are any."""
        found = self.reference or self.generated
        assert found is not None  # a model is made from at least one file
        return found

    @property
    def files(self) -> tuple[TraceResult, ...]:
        """The trace files of this model."""
        return tuple(found for found in (self.reference, self.generated) if found is not None)


@dataclass(frozen=True)
class Reused:
    """Parts of a report that were computed before, for the same inputs, and what computed them."""

    origin: Origin
    claims: bool
    fits: int

    @property
    def what(self) -> str:
        """What was taken, in words."""
        claims = "the check of the claims" if self.claims else ""
        fits = f"{self.fits} fits of the stochastic model" if self.fits else ""
        return " and ".join(filter(None, (claims, fits)))


@dataclass(frozen=True)
class Report:
    """The report; a rerun of `command` on the same files gives the same one.

    `summary` is its one table; `material` the difference in log-loss, nats, beyond which a rule is
    called better or worse; `calibrations` compare raw and calibrated lens where both were traced,
    `evaluations` say which problems were solved.
    """

    summary: tuple[SummaryRow, ...]
    command: str
    seed: int
    effort: Effort
    material: float
    versions: dict[str, str]
    claims_error: float
    claims_effort: float
    claims: tuple[Finding, ...]
    models: tuple[ModelResult, ...]
    calibrations: tuple[CalibrationEffect, ...]
    evaluations: tuple[Evaluation, ...]
    fits: tuple[FileFit, ...] = ()
    reused: Reused | None = None


def compute(
    paths: Sequence[Path],
    evaluations: Sequence[Path] = (),
    *,
    window: int | None = None,
    seed: int = 0,
    effort: Effort = FULL,
    material: float = MATERIAL,
    workers: Workers | None = None,
    store: Store | None = None,
    command: str = "stopping report",
    judged: Callable[[tuple[SummaryRow, ...]], object] = lambda _: None,
    begin: Callable[[str], object] = lambda _: None,
    done: Callable[[], object] = lambda: None,
) -> Report:
    """Judge every model, then check the claims and fit the stochastic model.

    Parameters
    ----------
    paths : sequence of Path
        Trace files, each model, lens and mode at most once.
    evaluations : sequence of Path
        Results of `stopping evaluate`.
    window : int, optional
        Steps back of the search; by default ten, or as many as a file's traced layers allow.
    material : float
        Difference to the final layer's log-loss, nats, that counts.
    workers : Workers, optional
        Where the work is done, default: this process; results do not depend on it.
    store : Store, optional
        Parts that were computed before, taken where everything that they depend on is the same.
    judged : callable
        Gets the summary as soon as it is known, before what takes long.
    begin, done : callable
        Called before each step with its name, and after it: `count_steps(paths, effort)` times.

    Raises
    ------
    UserError
        If a file is none of traces, holds one prompt only, is given twice, or is too shallow, or
        an evaluation cannot be read.
    """
    solved = tuple(read_evaluation(path) for path in evaluations)
    sources = read_sources(paths)
    results = []
    for source in sources:
        begin(f"{source.traces.provenance.model}, {source.traces.provenance.mode}")
        results.append(examine(source, window, seed, effort.replicates, material))
        done()
    models = models_of(results)
    summary = summarise(models)
    judged(summary)
    begin("raw and calibrated lens")
    traced = [source.traces for source in sources]
    calibrations = calibration_effects(traced, window or WINDOW, seed, effort.replicates)
    done()
    begin("claims of the theory")
    claims = checked_claims(seed, effort.claims, workers, store)
    done()
    jobs = fit_jobs(sources, window, WINDOW, seed, effort.replicates, effort.refits)
    fits, stored_fits = fit_files(jobs, store, workers, begin, done)
    return Report(
        summary=summary,
        command=command,
        seed=seed,
        effort=effort,
        material=material,
        versions=library_versions(),
        claims_error=claims.error,
        claims_effort=claims.effort,
        claims=claims.findings,
        models=models,
        calibrations=calibrations,
        evaluations=solved,
        fits=fits,
        reused=None
        if store is None or not (claims.stored or stored_fits)
        else Reused(store.origin, claims.stored, stored_fits),
    )


def count_steps(paths: Sequence[Path], effort: Effort) -> int:
    """Steps of `compute`, for a progress bar."""
    return 2 + len(paths) * (1 if effort.refits is None else 2)


def examine(
    source: Source, window: int | None, seed: int, replicates: int, material: float = MATERIAL
) -> TraceResult:
    """Audit and validate one trace file."""
    traces = source.traces
    K = min(WINDOW, len(traces.layers) - 1) if window is None else window
    try:
        sample = take_sample(traces, K, seed, replicates)
        return TraceResult(
            file=source.name,
            sha256=source.sha256,
            prompts=sample.prompts,
            tokens=len(traces),
            provenance=traces.provenance,
            audit=audit(traces, K, seed, replicates),
            validation=validate(traces, None, K, seed, replicates, material),
            curves=curves(sample),
        )
    except UserError as error:
        raise UserError(f"{source.path}: {error}") from error


def models_of(results: Sequence[TraceResult]) -> tuple[ModelResult, ...]:
    """Group the files by model and lens, in the order given, and judge each model."""
    grouped: dict[tuple[str, str], dict[str, TraceResult]] = {}
    for result in results:
        key = (result.provenance.model, result.provenance.lens)
        grouped.setdefault(key, {})[result.provenance.mode] = result
    models = []
    for (model, lens), modes in grouped.items():
        reference, generated = modes.get("reference"), modes.get("generated")
        main = reference or generated
        if main is None:
            raise UserError(f"{model}: mode must be reference or generated, got {', '.join(modes)}")
        validation = None if reference is None else reference.validation
        verdict = judge(main.audit, validation, lens)
        models.append(ModelResult(model, lens, reference, generated, verdict))
    return tuple(models)


def summarise(models: Sequence[ModelResult]) -> tuple[SummaryRow, ...]:
    """Return the one table, a row for each model and lens."""
    return tuple(
        summary_row(
            model.model,
            model.lens,
            model.verdict,
            None if model.reference is None else model.reference.validation,
            [other.lens for other in models if other.model == model.model],
        )
        for model in models
    )
