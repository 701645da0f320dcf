"""From a trace file to a fitted model with its uncertainty, its rivals and its failures.

The order matters, because predictions are made before looking: the treatment is chosen and the
model fitted on half of the prompts, and what it predicts is compared with the other half. Only then
does the optimisation go on to all tokens, whose estimate is the one that is reported and saved.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from empirical.analysis.projection_noise import measured_noise, shared_tokens
from empirical.fitting.bounds import BoundsCheck, check_bounds
from empirical.fitting.compare import DEFAULT, Comparison, Treatment, compare, split
from empirical.fitting.layers import LayerFit, layer_rows
from empirical.fitting.predictive import Predictive, predictive
from empirical.fitting.statuses import LEAST_READABLE, Excess, excess_status, judged, latent_excess
from empirical.fitting.views import NoiseViews, measured_correlation, noise_views
from empirical.provenance import library_versions
from empirical.traces.files import Traces
from empirical.traces.window import take_sample
from stopping.changepoint import ChangePointModel, write_model
from stopping.changepoint.bootstrap import bootstrap
from stopping.changepoint.estimate import STARTS, Estimate, carry_on, fit, layout_for
from stopping.changepoint.evidence import Evidence, held_out_gain, walk_of
from stopping.changepoint.inference import Parameter, Status, Uncertainty, uncertainty
from stopping.changepoint.layout import FinalNoise
from stopping.changepoint.misfit import Misfit
from stopping.errors import UserError
from stopping.support.results import Report, Result
from stopping.support.threads import one_thread

REPLICATES, REFITS = 1000, 50


COMPARED_PROMPTS = 8
"""Prompts that a comparison of treatments needs: four for it, and four that judge the fit."""


@dataclass(frozen=True)
class Optimisation:
    """How the maximum was reached; see `stopping.changepoint.estimate.Estimate`."""

    log_likelihood: float
    parameters: int
    starts: tuple[float, ...]
    lead: float
    promised_gain: float
    converged: bool
    evaluations: int
    information_positive: bool


@dataclass(frozen=True)
class Fit(Result):
    """All of it, for one trace file.

    Attributes
    ----------
    treatment : str
        Scale and classes; chosen by `comparison` unless that is None.
    parameters : tuple of Parameter
        Each with a status, which listens to `evidence` and to `misfit`; on the model's scale.
    evidence : Evidence
        Whether anything turns: the change point against the noisy walk on held-out prompts.
    misfit : Misfit
        Whether the model was refuted, by its predictions or by what its noise is not.
    predictive, bounds
        What the fit to half of the prompts says of the other half.
    excess : Excess
        Latent excess of the final layer, with its status.
    """

    name: str
    lens: str
    mode: str
    tokens: int
    prompts: int
    K: int
    seed: int
    replicates: int
    refits: int
    treatment: str
    final_noise: str
    optimisation: Optimisation
    model: ChangePointModel
    parameters: tuple[Parameter, ...]
    evidence: Evidence
    misfit: Misfit
    layers: tuple[LayerFit, ...]
    views: NoiseViews
    comparison: Comparison | None
    held_out_tokens: int
    predictive: Predictive
    bounds: BoundsCheck
    excess: Excess

    def items(self) -> tuple[LayerFit, ...]:
        """Layers."""
        return self.layers

    def report(self, name: str = "") -> Report:
        """Tables and a summary; `name` is the file's."""
        from empirical.fitting.tables import report

        return report(self, name)

    def count(self, status: Status | str) -> int:
        """Number of parameters with this status."""
        return sum(p.status == status for p in self.parameters)

    def turning_status(self, column: int) -> Status:
        """Whether the share of tokens that turn at a column of the window may be read.

        That of the class which may be read least.
        """
        own = {p.status for p in self.parameters if (p.name, p.index) == ("turning", column)}
        return next(status for status in LEAST_READABLE if status in own)


@one_thread()
def fit_traces(
    traces: Traces,
    K: int = 10,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
    refits: int = REFITS,
    starts: int = STARTS,
    jobs: int = 1,
    treatment: Treatment | None = DEFAULT,
    final_noise: FinalNoise = "none",
    types: Sequence[str] | None = None,
    calibrated: Traces | None = None,
    step: Callable[[str], object] = lambda _: None,
) -> Fit:
    """Fit the window of a trace file.

    Parameters
    ----------
    replicates : int
        Resamples of prompts for measured quantities.
    refits : int
        Refits of the bootstrap over prompts; none leaves its intervals out.
    treatment : Treatment or None
        None compares treatments and models on held-out prompts, a half of those that are fitted
        before anything is predicted, and takes the best; this needs `COMPARED_PROMPTS`.
    types : sequence of str, optional
        Type of each layer of the window, for jumps between types.
    calibrated : Traces, optional
        Traces of the same tokens through a calibrated lens: measures the noise directly.
    step : callable
        Told what begins, for a progress bar: `STEPS` times.

    Raises
    ------
    UserError
        If the window is too deep, prompts or tokens are too few, or a layer is constant.
    """
    sample = take_sample(traces, K, seed, replicates)
    x, prompt = sample.x, traces.prompt.astype(np.intp)
    if treatment is None and sample.prompts < COMPARED_PROMPTS:
        raise UserError(
            f"compare: {sample.prompts} prompts; comparing treatments on prompts apart from those "
            f"that judge the fit needs at least {COMPARED_PROMPTS}; trace more, or fit with "
            "--no-compare"
        )
    halves = split(x, prompt, seed, len(x))
    comparison = None
    step("treatments")
    if treatment is None:
        # Within the half that is fitted: what is predicted later must have had no part in this.
        comparison = compare(halves.train, halves.train_prompt, seed, jobs)
        treatment = comparison.chosen
    step("half of the prompts")
    layout = layout_for(halves.train, treatment.classes, treatment.scale, types, final_noise)
    half = fit(halves.train, halves.train_prompt, layout, seed, starts, jobs)
    measured = None
    if calibrated is not None:
        measured = measured_noise(*shared_tokens(traces, calibrated), seed, replicates)
    bounds = check_bounds(
        half.model,
        halves.test,
        halves.test_prompt,
        seed,
        replicates,
        correlation=None if measured is None else measured_correlation(measured, sample.layers),
    )
    predicted = predictive(
        half.model, halves.test, halves.test_prompt, bounds.eps_max, seed, replicates
    )
    evidence = held_out_gain(
        half.model, walk_of(half, halves.train, seed), halves.test, halves.test_prompt
    )
    step("all prompts")
    whole = carry_on(half, x, jobs)
    step("errors")
    errors = uncertainty(whole, x, prompt)
    parameters, misfit = judged(whole, errors, evidence, predicted.p_value, x, prompt)
    step("bootstrap")
    drawn = bootstrap(whole, errors, x, prompt, seed, refits, jobs)
    layers = layer_rows(whole, errors, drawn, sample.layers.tolist())
    views = noise_views(
        *(x, prompt, sample.layers, tuple(row.noise for row in layers), seed, replicates),
        measured=measured,
    )
    origin = traces.provenance
    return Fit(
        name=origin.model,
        lens=origin.lens,
        mode=origin.mode,
        tokens=len(x),
        prompts=sample.prompts,
        K=K,
        seed=seed,
        replicates=replicates,
        refits=refits,
        treatment=treatment.name,
        final_noise=final_noise,
        optimisation=_optimisation(whole, errors),
        model=whole.model,
        parameters=parameters,
        evidence=evidence,
        misfit=misfit,
        layers=layers,
        views=views,
        comparison=comparison,
        held_out_tokens=len(halves.test),
        predictive=predicted,
        bounds=bounds,
        excess=Excess(latent_excess(whole, errors), excess_status(evidence, misfit, parameters)),
    )


STEPS = 5


def _optimisation(estimate: Estimate, errors: Uncertainty) -> Optimisation:
    return Optimisation(
        log_likelihood=estimate.log_likelihood,
        parameters=estimate.layout.free,
        starts=estimate.starts,
        lead=estimate.lead,
        promised_gain=estimate.promised_gain,
        converged=estimate.converged,
        evaluations=estimate.evaluations,
        information_positive=errors.positive,
    )


def write_fit(path: Path, fitted: Fit, traces: Traces, about: Mapping[str, Any]) -> None:
    """Save the model for `stopping solve`, with what made it; `about` joins the provenance."""
    from stopping.support.documents import plain

    write_model(
        path,
        replace(fitted.model, fitted_on=traces.provenance.read_as),
        {
            "provenance": {
                "traces": plain(traces.provenance),
                "versions": library_versions(),
                "seed": fitted.seed,
                **about,
            },
            "layers": [row.layer for row in fitted.layers],
            "fit": {k: v for k, v in plain(fitted).items() if k != "model"},
        },
    )
