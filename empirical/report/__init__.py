"""The report: one self-contained page that answers whether to switch Confident Decoding on.

- `results`: trace files in, one typed `Report` out (audit, validation, claims, verdicts).
- `verdict`: the two answers and their rules, as pure functions.
- `curves`, `figures`, `theme`: what is drawn, how, and in which colours.
- `numbers`, `page`, `terminal`: how it is written.
"""

from empirical.report.results import FULL, QUICK, ModelResult, Report, TraceResult, compute
from empirical.report.verdict import Answer, Guarantee, ModelVerdict

__all__ = [
    "FULL",
    "QUICK",
    "Answer",
    "Guarantee",
    "ModelResult",
    "ModelVerdict",
    "Report",
    "TraceResult",
    "compute",
]
