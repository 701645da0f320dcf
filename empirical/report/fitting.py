"""The report's section on the fitted model: which files are fitted, and what the page shows of it.

Every file is fitted on its own. Treatments and simpler models are compared once for each model, on
the raw lens and reference answers; the other files take the package's default treatment. A file
that cannot be fitted (too few prompts or tokens, a constant layer) is listed with the reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from empirical.fitting.compare import DEFAULT
from empirical.fitting.core import COMPARED_PROMPTS, Fit, fit_traces
from empirical.projection_noise import shared_tokens
from empirical.provenance import Provenance
from empirical.report.theme import BLUE, GREEN, PURPLE, VERMILION, blank, inline_svg, settings
from empirical.traces import Traces
from stopping.errors import UserError
from stopping.parallel import Workers, in_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STARTS = 4
SHOWN = (
    "share moved",
    "depth of the search",
    "projections per token",
    "regret of the search",
    "regret of the final layer",
)
"""Predictions that the page lists."""
_STYLES = (
    ("raw", "reference", BLUE, "o", "-"),
    ("raw", "generated", VERMILION, "s", "--"),
    ("calibrated", "reference", GREEN, "^", "-"),
    ("calibrated", "generated", PURPLE, "D", "--"),
)


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


def fit_files(
    loaded: Sequence[tuple[Path, Traces]],
    window: int | None,
    deepest: int,
    seed: int,
    replicates: int,
    refits: int | None,
    workers: Workers | None,
    done: Callable[[], object],
) -> tuple[FileFit, ...]:
    """Fit every file; none if `refits` is None. `done` is called after each."""
    if refits is None:
        return ()
    traced = [traces for _, traces in loaded]
    work = [
        partial(
            _fit_file,
            path.name,
            traces,
            min(deepest, len(traces.layers) - 1) if window is None else window,
            (seed, replicates, refits),
            _calibrated_twin(traces, traced),
        )
        for path, traces in loaded
    ]
    found = []
    for result in in_order(work, workers):
        found.append(result)
        done()
    return tuple(found)


def _fit_file(
    file: str, traces: Traces, K: int, effort: tuple[int, int, int], calibrated: Traces | None
) -> FileFit:
    origin = traces.provenance
    seed, replicates, refits = effort
    enough = len(np.unique(traces.prompt)) >= COMPARED_PROMPTS
    choose = enough and origin.lens == "raw" and origin.mode == "reference"
    fitted, why = None, None
    try:
        fitted = fit_traces(
            traces,
            K,
            seed=seed,
            replicates=replicates,
            refits=refits,
            starts=STARTS,
            treatment=None if choose else DEFAULT,
            calibrated=calibrated,
        )
    except UserError as error:
        why = str(error)
    return FileFit(file, origin.model, origin.lens, origin.mode, fitted, why)


def _calibrated_twin(traces: Traces, all_traces: Sequence[Traces]) -> Traces | None:
    """Traces of the same run through a calibrated lens, for raw traces."""
    own = traces.provenance
    if own.lens != "raw":
        return None
    for other in all_traces:
        origin = other.provenance
        if origin.lens != "raw" and _run(origin) == _run(own):
            places = shared_tokens(traces, other)[0].prompt
            return other if len(np.unique(places)) > 1 else None
    return None


def _run(origin: Provenance) -> tuple[str, str, str, tuple[tuple[str, str], ...]]:
    return origin.model, origin.mode, origin.prompts_hash, tuple(sorted(origin.weights.items()))


def profiles_svg(fits: Sequence[FileFit]) -> str | None:
    """One figure: turning points and noise by layer, a row for each model; None without a fit."""
    usable = [row for row in fits if row.fit is not None]
    models = list(dict.fromkeys(row.model for row in usable))
    if not models:
        return None
    with settings():
        figure = blank(9.2, 3.2 * len(models))
        axes = figure.subplots(len(models), 2, squeeze=False)
        for (left, right), model in zip(axes, models, strict=True):
            for row in usable:
                if row.model == model and row.fit is not None:
                    _draw(left, right, row.fit)
            left.set_title(model)
            left.set_xlabel("layer of the turning point V*")
            left.set_ylabel("share of tokens")
            right.set_xlabel("layer")
            right.set_ylabel("noise of the probe, nats")
            for ax in (left, right):
                ax.set_ylim(bottom=0)
            right.legend(loc="best")
        return inline_svg(figure, "fits", "Fitted turning points and noise by layer")


def _draw(left: "Axes", right: "Axes", fitted: Fit) -> None:
    lens = "raw" if fitted.lens == "raw" else "calibrated"
    colour, marker, style = next(
        (colour, marker, style)
        for own, mode, colour, marker, style in _STYLES
        if (own, mode) == (lens, fitted.mode)
    )
    layers = [row.layer for row in fitted.layers]
    for ax, intervals in (
        (left, [row.turning for row in fitted.layers]),
        (right, [row.noise for row in fitted.layers]),
    ):
        values = [interval.estimate for interval in intervals]
        low = [v if np.isnan(i.low) else i.low for v, i in zip(values, intervals, strict=True)]
        high = [v if np.isnan(i.high) else i.high for v, i in zip(values, intervals, strict=True)]
        ax.fill_between(layers, low, high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(
            layers,
            values,
            color=colour,
            marker=marker,
            linestyle=style,
            label=f"{lens}, {fitted.mode}",
        )
