"""Figures of the theory: `draw_*(ax, data)` draws what `stopping.curves` computed, and no more.

Each figure has one message, which its title states. Colours are those of Okabe and Ito (2008), told
apart with a colour vision deficiency; line styles and markers tell the same in grey. Only this
package imports matplotlib, and none of it touches pyplot or global settings.
"""

from stopping.plots.averages import draw_constants, draw_worst_falls
from stopping.plots.bounds import draw_regret, draw_tolerance
from stopping.plots.catalogue import FIGURES, Plate
from stopping.plots.games import draw_certificate, draw_knob, draw_token, draw_values
from stopping.plots.landscape import draw_best, draw_gain, landscape_figure, save_landscape
from stopping.plots.laws import draw_runs, draw_stops
from stopping.plots.robustness import draw_mean_bounds, draw_sure_bounds
from stopping.plots.snell import (
    draw_gaps,
    draw_phases,
    draw_region,
    phase_figure,
    save_phase_diagram,
    save_solution,
)
from stopping.plots.theme import blank, check_format, save, settings

__all__ = [
    "FIGURES",
    "Plate",
    "blank",
    "check_format",
    "draw_best",
    "draw_certificate",
    "draw_constants",
    "draw_gain",
    "draw_gaps",
    "draw_knob",
    "draw_mean_bounds",
    "draw_phases",
    "draw_region",
    "draw_regret",
    "draw_runs",
    "draw_stops",
    "draw_sure_bounds",
    "draw_token",
    "draw_tolerance",
    "draw_values",
    "draw_worst_falls",
    "landscape_figure",
    "phase_figure",
    "save",
    "save_landscape",
    "save_phase_diagram",
    "save_solution",
    "settings",
]
