"""Test anyone's implementation of confident layer decoding against the theory.

    from stopping.testing import check_selection

    check_selection(my_engine.choose, K=10).require()

`check_selection` takes a function from entropies to layers, `check_entropy` one from logits to
entropies, `check_decoder` one from candidate states and a head to logits. Each asks a list of named
requirements (`SELECTION`, `ENTROPY`, `DECODER`), whose source is a theorem or the paper's
Algorithm 1, and reports for each that fails the smallest counterexample with code that reproduces
it. `conformance_tests` makes a pytest test of them, `stopping conformance` a table.

`worlds`, `entropies`, `descents`, `logits` and their like are the Hypothesis strategies behind it.

Needs the extra `conformance` (Hypothesis); torch only where the tested function uses it.
"""

from importlib.util import find_spec

from stopping.errors import missing_extra

if find_spec("hypothesis") is None:
    raise missing_extra("stopping.testing needs Hypothesis", "conformance")

from stopping.testing.decoder import Decoder, check_decoder
from stopping.testing.decoder_requirements import DECODER
from stopping.testing.entropy import Entropy, check_entropy
from stopping.testing.entropy_requirements import ENTROPY
from stopping.testing.head import Head
from stopping.testing.pytest_entry import Kind, conformance_tests, suite
from stopping.testing.requirement import (
    ConformanceError,
    Failure,
    Report,
    Requirement,
    Result,
    Status,
)
from stopping.testing.selection import Selection, check_selection
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

__all__ = [
    "DECODER",
    "ENTROPY",
    "EPS_MAX",
    "SELECTION",
    "ConformanceError",
    "Decoder",
    "Entropy",
    "Failure",
    "Head",
    "Kind",
    "Report",
    "Requirement",
    "Result",
    "Selection",
    "Status",
    "World",
    "check_decoder",
    "check_entropy",
    "check_selection",
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
