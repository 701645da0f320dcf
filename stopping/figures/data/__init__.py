"""What the figures show, computed: one frozen dataclass and one function for each.

`stopping.figures.draw` draws these and computes nothing, so a figure can be checked as numbers.
Every world here has `eps_max = 1` unless it says otherwise: the theory has one scale.
"""

from stopping.figures.data.distributions import (
    RuleDistribution,
    RunCurve,
    Simulated,
    StopCurve,
    run_curve,
    stop_curve,
)
from stopping.figures.data.excess import ExcessCurve, ToleranceCurve, excess_curve, tolerance_curve
from stopping.figures.data.games import (
    MixingCurve,
    MixingSeries,
    TokenCertificate,
    ValueCurve,
    mixing_curve,
    token_certificate,
    value_curve,
)
from stopping.figures.data.robustness import Survival, how_far, survivals

__all__ = [
    "ExcessCurve",
    "MixingCurve",
    "MixingSeries",
    "RuleDistribution",
    "RunCurve",
    "Simulated",
    "StopCurve",
    "Survival",
    "TokenCertificate",
    "ToleranceCurve",
    "ValueCurve",
    "excess_curve",
    "how_far",
    "mixing_curve",
    "run_curve",
    "stop_curve",
    "survivals",
    "token_certificate",
    "tolerance_curve",
    "value_curve",
]
