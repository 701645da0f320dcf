"""Rules against the final layer and the hindsight oracle, on the tokens of a real model.

Regret, accuracy, substitutions and cost of every rule, with intervals by bootstrap over prompts,
overall and by difficulty, and a decision "better / worse / undecided" that is adjusted for the
number of rules compared. See `validate` for the oracle and `Measures` for what is measured.
"""

from empirical.analysis.validate.core import ORACLE, Validation, default_rules, validate
from empirical.analysis.validate.rows import Comparison, GroupMeasures, Measures, Row

__all__ = [
    "ORACLE",
    "Comparison",
    "GroupMeasures",
    "Measures",
    "Row",
    "Validation",
    "default_rules",
    "validate",
]
