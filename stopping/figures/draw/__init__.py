"""Figures of the theory: `draw_*(ax, data)` draws what `stopping.figures.data` computed, and no
more.

Each figure has one message, which its title states. Colours are those of Okabe and Ito (2008), told
apart with a colour vision deficiency; line styles and markers tell the same in grey. Only this
package imports matplotlib, and none of it touches pyplot or global settings.
"""

from stopping.figures.draw.averages import draw_constants, draw_worst_falls
from stopping.figures.draw.bounds import draw_excess, draw_tolerance
from stopping.figures.draw.catalogue import FIGURES, Plate
from stopping.figures.draw.distributions import draw_runs, draw_stops
from stopping.figures.draw.games import draw_certificate, draw_mixing, draw_token, draw_values
from stopping.figures.draw.optimal import (
    diagram_figure,
    draw_diagram,
    draw_gaps,
    draw_region,
    save_diagram,
    save_solution,
)
from stopping.figures.draw.robustness import draw_mean_bounds, draw_sure_bounds
from stopping.figures.draw.sweep import draw_best, draw_gain, landscape_figure, save_landscape

__all__ = [
    "FIGURES",
    "Plate",
    "diagram_figure",
    "draw_best",
    "draw_certificate",
    "draw_constants",
    "draw_diagram",
    "draw_excess",
    "draw_gain",
    "draw_gaps",
    "draw_mean_bounds",
    "draw_mixing",
    "draw_region",
    "draw_runs",
    "draw_stops",
    "draw_sure_bounds",
    "draw_token",
    "draw_tolerance",
    "draw_values",
    "draw_worst_falls",
    "landscape_figure",
    "save_diagram",
    "save_landscape",
    "save_solution",
]
