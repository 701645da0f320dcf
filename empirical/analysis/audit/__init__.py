"""Which assumption of the theory holds on the tokens of a real model, and where it fails.

- `calibration`: A0, entropy against log-loss at every traced layer.
- `given_reading`: C2, the calibration that a rule needs, and A0 does not give.
- `noise`, `levels`: A1, A2, A3 through T9, and what T2 guarantees at that noise.
- `window`: A4.
- `tokens`: the paper's own statistics beside its figures.

Each assumption gets a status and one sentence made of numbers. All intervals are by bootstrap over
prompts, since tokens of one prompt are dependent.
"""

from empirical.analysis.audit.calibration import Calibration, GroupCalibration, LayerCalibration
from empirical.analysis.audit.core import Audit, audit
from empirical.analysis.audit.given_reading import Cell, GivenReading
from empirical.analysis.audit.levels import NoiseLevel
from empirical.analysis.audit.noise import (
    Histogram,
    Noise,
    NoiseDistribution,
    Quantile,
    Refinement,
    Refuted,
)
from empirical.analysis.audit.tokens import EntropyBin, PositionDecile, Statistic, TokenStatistics
from empirical.analysis.audit.verdicts import Status, Verdict, at_most
from empirical.analysis.audit.window import Window

__all__ = [
    "Audit",
    "Calibration",
    "Cell",
    "EntropyBin",
    "GivenReading",
    "GroupCalibration",
    "Histogram",
    "LayerCalibration",
    "Noise",
    "NoiseDistribution",
    "NoiseLevel",
    "PositionDecile",
    "Quantile",
    "Refinement",
    "Refuted",
    "Statistic",
    "Status",
    "TokenStatistics",
    "Verdict",
    "Window",
    "at_most",
    "audit",
]
