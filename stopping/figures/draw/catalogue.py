"""Every figure by name: how its data are computed and how it is composed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stopping.figures.data import (
    excess_curve,
    mixing_curve,
    run_curve,
    stop_curve,
    survivals,
    token_certificate,
    tolerance_curve,
    value_curve,
)
from stopping.figures.draw.averages import draw_constants, draw_worst_falls
from stopping.figures.draw.bounds import draw_excess, draw_tolerance
from stopping.figures.draw.distributions import draw_runs, draw_stops
from stopping.figures.draw.games import draw_certificate, draw_mixing, draw_token, draw_values
from stopping.figures.draw.robustness import draw_mean_bounds, draw_sure_bounds
from stopping.figures.theme import blank, settings
from stopping.simulation.robustness import robustness_table
from stopping.theory.averages import average_table


@final
@dataclass(frozen=True)
class Plate:
    """One figure.

    Attributes
    ----------
    name : str
        Of its file.
    label : str
        Theorems that it shows.
    size : tuple of float
        Inches.
    compute : callable
        `compute(seed, quick)` returns the data; `quick` trades precision for seconds.
    draw : tuple of callable
        `draw(axes, data)` fills one panel each.
    panels : mapping
        How `Figure.subplots` lays them out; by default side by side.
    """

    name: str
    label: str
    size: tuple[float, float]
    compute: Callable[[int, bool], Any]
    draw: tuple[Callable[[Axes, Any], None], ...]
    panels: Mapping[str, Any] = field(default_factory=dict)

    def figure(self, seed: int = 0, quick: bool = False) -> Figure:
        """Compute and draw."""
        data = self.compute(seed, quick)
        with settings():
            figure = blank(*self.size)
            panels = {"nrows": 1, "ncols": len(self.draw), **self.panels}
            axes = np.ravel(figure.subplots(**panels))
            for ax, draw in zip(axes, self.draw, strict=True):
                draw(ax, data)
            # Text is laid out with the style in force, so settle it before the style is left.
            figure.draw_without_rendering()
        return figure


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


FIGURES: tuple[Plate, ...] = (
    Plate(
        "excess",
        "T2",
        (6.4, 4.2),
        lambda seed, quick: excess_curve(_rng(seed), 200 if quick else 4_000),
        (draw_excess,),
    ),
    Plate(
        "tolerance",
        "T5",
        (6.4, 3.8),
        lambda seed, quick: tolerance_curve(),
        (draw_tolerance,),
    ),
    Plate(
        "runs",
        "T11",
        (6.4, 3.8),
        lambda seed, quick: run_curve(_rng(seed), 10_000 if quick else 200_000),
        (draw_runs,),
    ),
    Plate(
        "values",
        "T6, T7",
        (9.0, 4.0),
        lambda seed, quick: (value_curve(), mixing_curve()),
        (lambda ax, data: draw_values(ax, data[0]), lambda ax, data: draw_mixing(ax, data[1])),
    ),
    Plate(
        "certificate",
        "T8",
        (6.8, 5.6),
        lambda seed, quick: token_certificate(_rng(seed)),
        (draw_token, draw_certificate),
        {"nrows": 2, "ncols": 1, "sharex": True},
    ),
    Plate(
        "law",
        "T12",
        (6.4, 3.8),
        lambda seed, quick: stop_curve(_rng(seed), 10_000 if quick else 200_000),
        (draw_stops,),
    ),
    Plate(
        "averages",
        "T13",
        (9.0, 4.0),
        lambda seed, quick: average_table(_rng(seed), max_layers=2 if quick else 6, starts=2),
        (draw_worst_falls, draw_constants),
    ),
    Plate(
        "robustness",
        "T1 to T4, T10, T11",
        (9.6, 7.8),
        lambda seed, quick: survivals(robustness_table(seed, 1 << (12 if quick else 17))),
        (draw_sure_bounds, draw_mean_bounds),
        {"sharey": True, "width_ratios": (0.75, 1.0)},
    ),
)
