"""The paper's tables and figures for any model: `stopping paper`.

One set of problems is answered plainly, under the search, and under whatever the paper sets beside
it: other values of `p`, shifted and fixed layers, rival decoders, other temperatures. From the
answers come paired differences in accuracy; from what the search did at each token, the paper's
token statistics; from both, what happens by difficulty. All of it stands beside the paper's own
values, which were measured on models a hundred times larger: what is compared is the shape.
"""

from empirical.studies.paper.difficulty import Difficulty, Quartile, quartiles
from empirical.studies.paper.plan import SECTIONS, Plan, planned
from empirical.studies.paper.results import ArmResult, Contrast, ModelResult, PaperResult
from empirical.studies.paper.substitutions import Category, Substitutions, category, substitutions

__all__ = [
    "SECTIONS",
    "ArmResult",
    "Category",
    "Contrast",
    "Difficulty",
    "ModelResult",
    "PaperResult",
    "Plan",
    "Quartile",
    "Substitutions",
    "category",
    "planned",
    "quartiles",
    "substitutions",
]
