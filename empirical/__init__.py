"""Real language models: layer traces, what they say of the assumptions, and the decoder.

The main names stand here; each is imported when it is touched, and with it torch only where a
model is run.

    import empirical, stopping
    traces = empirical.read_traces(empirical.bundled_traces()["smollm2-135m-instruct.reference"])
    empirical.validate(traces)                               # every rule against the final layer
    stopping.certify(traces.entropy[:, -11:], eps_max=0.5)   # what each token proves (T8)
    empirical.fit_traces(traces)
    empirical.decode(empirical.load_model("HuggingFaceTB/SmolLM2-135M-Instruct"), "Hello")

Each result prints as a table, in a notebook too; `records()` and `to_arrow()` hand out its rows.
"""

from typing import TYPE_CHECKING

from stopping.support.lazy import lazily

if TYPE_CHECKING:
    from empirical.analysis.audit import audit as audit
    from empirical.analysis.certify import certify_risk as certify_risk
    from empirical.analysis.validate import validate as validate
    from empirical.capture.run import trace_problems as trace_problems
    from empirical.data import bundled_traces as bundled_traces
    from empirical.decoding import ConfidentDecoding as ConfidentDecoding
    from empirical.decoding.writing import decode as decode
    from empirical.evaluation.run import evaluate as evaluate
    from empirical.fitting.fit import fit_traces as fit_traces
    from empirical.lenses.files import load_lens as load_lens
    from empirical.model.anatomy import Anatomy as Anatomy
    from empirical.model.load import load_model as load_model
    from empirical.problems import draw_problems as draw_problems
    from empirical.traces.files import Traces as Traces
    from empirical.traces.files import read_traces as read_traces
    from empirical.traces.files import write_traces as write_traces

_HOMES = {
    "Anatomy": "empirical.model.anatomy",
    "ConfidentDecoding": "empirical.decoding",
    "Traces": "empirical.traces.files",
    "audit": "empirical.analysis.audit",
    "bundled_traces": "empirical.data",
    "certify_risk": "empirical.analysis.certify",
    "decode": "empirical.decoding.writing",
    "evaluate": "empirical.evaluation.run",
    "fit_traces": "empirical.fitting.fit",
    "draw_problems": "empirical.problems",
    "load_lens": "empirical.lenses.files",
    "load_model": "empirical.model.load",
    "read_traces": "empirical.traces.files",
    "trace_problems": "empirical.capture.run",
    "validate": "empirical.analysis.validate",
    "write_traces": "empirical.traces.files",
}

__getattr__, __dir__, __all__ = lazily(__name__, _HOMES)
