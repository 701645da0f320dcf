"""Test anyone's implementation of confident layer decoding against the theory.

    from stopping.testing import check

    check(my_engine.choose, "selection", K=10).require()

There are four kinds of functions: "selection" from entropies to layers, "entropy" from logits to
entropies, "decoder" from candidate states and a head to logits, "lens" from states and a head to
the logits of every layer. Each is asked a list of named requirements (`SELECTION`, `ENTROPY`,
`DECODER`, `LENS`), whose source is a theorem, the paper's Algorithm 1 or what a layer's projection
is; for each that fails `check` reports the smallest counterexample with code that reproduces it.
What a function takes and gives is said by `Conventions`. `conformance_tests` makes a pytest test of
the requirements, `stopping conformance` a table.

`worlds`, `entropies`, `descents`, `logits` and the others are the Hypothesis strategies behind it.

Needs the extra `conformance` (Hypothesis); torch only where the tested function uses it.
"""

from importlib.util import find_spec

from stopping.errors import missing_extra

if find_spec("hypothesis") is None:
    raise missing_extra("stopping.testing needs Hypothesis", "conformance")

from stopping.testing.conventions import Conventions, Kind
from stopping.testing.decoder_requirements import DECODER
from stopping.testing.entropy_requirements import ENTROPY
from stopping.testing.head import Head
from stopping.testing.lens_requirements import LENS
from stopping.testing.requirement import (
    ConformanceError,
    Failure,
    Report,
    Requirement,
    Result,
    Status,
)
from stopping.testing.selection_requirements import SELECTION
from stopping.testing.strategies import (
    EPS_MAX,
    World,
    descents,
    entropies,
    logits,
    masked,
    near_ties,
    peaked_logits,
    scales,
    worlds,
)
from stopping.testing.suites import check, conformance_tests, suite

__all__ = [
    "DECODER",
    "ENTROPY",
    "EPS_MAX",
    "LENS",
    "SELECTION",
    "ConformanceError",
    "Conventions",
    "Failure",
    "Head",
    "Kind",
    "Report",
    "Requirement",
    "Result",
    "Status",
    "World",
    "check",
    "conformance_tests",
    "descents",
    "entropies",
    "logits",
    "masked",
    "near_ties",
    "peaked_logits",
    "scales",
    "suite",
    "worlds",
]
