"""Rules against the final layer and the hindsight oracle, on the tokens of a real model.

Regret, accuracy, substitutions and cost of every rule, with intervals by bootstrap over groups of
prompts, overall and by difficulty; a decision "better / worse / undecided" that holds its level
over all comparisons (see `empirical.analysis.decisions`); the final layer at its own temperature as
a rival of them all; and what of the gain in hindsight is choosing after the fact. See `validate`
for the oracle and `Measures` for what is measured.
"""

from empirical.analysis.decisions import Comparison, Decision
from empirical.analysis.validate.ceiling import Ceiling
from empirical.analysis.validate.core import ORACLE, Validation, default_rules, validate
from empirical.analysis.validate.pools import Pool
from empirical.analysis.validate.rows import GroupMeasures, Measures, Row

__all__ = [
    "ORACLE",
    "Ceiling",
    "Comparison",
    "Decision",
    "GroupMeasures",
    "Measures",
    "Pool",
    "Row",
    "Validation",
    "default_rules",
    "validate",
]
