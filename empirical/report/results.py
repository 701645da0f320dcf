"""Everything that the page says, computed and typed: trace files in, `Report` out.

Traces are grouped by model and lens. Reference traces decide; traces of the model's own text are
shown for the statistics of entropy alone. `report.json` is this object and nothing else.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from empirical.audit import Audit, audit
from empirical.evaluate.files import read_evaluation
from empirical.evaluate.run import Evaluation
from empirical.provenance import Provenance, library_versions
from empirical.report.calibration import CalibrationEffect, calibration_effects
from empirical.report.curves import Curves, curves
from empirical.report.fitting import FileFit, fit_files
from empirical.report.verdict import ModelVerdict, judge
from empirical.sample import take_sample
from empirical.traces import Traces, read_traces
from empirical.validate import Validation, validate
from stopping.claims import CLAIMS, Finding, check
from stopping.errors import UserError
from stopping.parallel import Workers

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
CLAIMS_ERROR = 1e-3


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
class Report:
    """The report; a rerun of `command` on the same files gives the same one.

    `calibrations` compare raw and calibrated lens where both were traced, `evaluations` say which
    problems were solved.
    """

    command: str
    seed: int
    effort: Effort
    versions: dict[str, str]
    claims_error: float
    claims: tuple[Finding, ...]
    models: tuple[ModelResult, ...]
    calibrations: tuple[CalibrationEffect, ...]
    evaluations: tuple[Evaluation, ...]
    fits: tuple[FileFit, ...] = ()


def compute(
    paths: Sequence[Path],
    evaluations: Sequence[Path] = (),
    *,
    window: int | None = None,
    seed: int = 0,
    effort: Effort = FULL,
    workers: Workers | None = None,
    command: str = "stopping report",
    begin: Callable[[str], object] = lambda _: None,
    done: Callable[[], object] = lambda: None,
) -> Report:
    """Check the claims and judge every model.

    Parameters
    ----------
    paths : sequence of Path
        Trace files, each model, lens and mode at most once.
    evaluations : sequence of Path
        Results of `stopping evaluate`.
    window : int, optional
        Steps back of the search; by default ten, or as many as a file's probed layers allow.
    workers : Workers, optional
        Where the claims are checked, default: this process; results do not depend on it.
    begin, done : callable
        Called before each step with its name, and after it: `count_steps(paths)` times.

    Raises
    ------
    UserError
        If a file is none of traces, holds one prompt only, is given twice, or is too shallow, or
        an evaluation cannot be read.
    """
    solved = tuple(read_evaluation(path) for path in evaluations)
    loaded = [(path, read_traces(path)) for path in paths]
    require_distinct(loaded)
    begin("claims of the theory")
    claims = check(CLAIMS, seed=seed, effort=effort.claims, workers=workers, error=CLAIMS_ERROR)
    done()
    results = []
    for path, traces in loaded:
        begin(f"{traces.provenance.model}, {traces.provenance.mode}")
        results.append(examine(path, traces, window, seed, effort.replicates))
        done()
    begin("raw and calibrated lens")
    traced = [traces for _, traces in loaded]
    calibrations = calibration_effects(traced, window or WINDOW, seed, effort.replicates)
    done()
    begin("change-point model")
    fits = fit_files(
        *(loaded, window, WINDOW, seed, effort.replicates, effort.refits, workers, lambda: None)
    )
    done()
    return Report(
        command=command,
        seed=seed,
        effort=effort,
        versions=library_versions(),
        claims_error=CLAIMS_ERROR,
        claims=claims,
        models=models_of(results),
        calibrations=calibrations,
        evaluations=solved,
        fits=fits,
    )


def count_steps(paths: Sequence[Path]) -> int:
    """Steps of `compute`, for a progress bar."""
    return 3 + len(paths)


def require_distinct(loaded: Sequence[tuple[Path, Traces]]) -> None:
    """Raise `UserError` if two files trace the same model, lens and mode."""
    if not loaded:
        raise UserError("no traces: name a trace file, or make one with `stopping trace`")
    seen: dict[tuple[str, str, str], Path] = {}
    for path, traces in loaded:
        origin = traces.provenance
        key = (origin.model, origin.lens, origin.mode)
        if key in seen:
            raise UserError(
                f"{path}: traces {origin.model} ({origin.lens} lens, {origin.mode} mode), and so "
                f"does {seen[key]}; report on one of them at a time"
            )
        seen[key] = path


def examine(
    path: Path, traces: Traces, window: int | None, seed: int, replicates: int
) -> TraceResult:
    """Audit and validate one trace file."""
    K = min(WINDOW, len(traces.layers) - 1) if window is None else window
    try:
        sample = take_sample(traces, K, seed, replicates)
        return TraceResult(
            file=path.name,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            prompts=sample.prompts,
            tokens=len(traces),
            provenance=traces.provenance,
            audit=audit(traces, K, seed, replicates),
            validation=validate(traces, None, K, seed, replicates),
            curves=curves(sample),
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


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
