"""The plainest rivals of any rule: the final layer itself, at a temperature of its own.

Whatever a rule gains over the final layer, it must gain over this as well: one number, fitted on
other prompts, that needs no second layer. Where a lens corrects the final layer, there are two
conventions of what the baseline is, and the model's own final layer, as it is, is a rival too.
"""

from collections.abc import Iterator

import numpy as np

from empirical.analysis.final_reading import corrects_final, own_temperature
from empirical.analysis.validate.rows import Outcome
from empirical.logits.temperatures import INVERSE_TEMPERATURES
from empirical.traces.window import Sample
from stopping.types import FloatArray

AS_IT_IS = "final layer as it is"
OWN_TEMPERATURE = "final layer, own temperature"


def rivals(sample: Sample) -> Iterator[tuple[str, Outcome]]:
    """Name and outcome of each rival that the traces allow; none in files of older versions."""
    if not sample.traces.holds("tempered"):
        return
    kept = sample.traces.tempered.astype(np.float64)
    if corrects_final(sample.traces):
        yield AS_IT_IS, _outcome(sample, -kept[:, INVERSE_TEMPERATURES.index(1.0)])
    yield OWN_TEMPERATURE, _outcome(sample, -own_temperature(kept, sample.clusters, sample.seed)[0])


def _outcome(sample: Sample, loss: FloatArray) -> Outcome:
    n = len(loss)
    right = (sample.top1[:, -1] == sample.traces.token).astype(np.float64)
    unknown, nothing = np.full(n, np.nan), np.zeros(n)
    return Outcome(loss, unknown, right, nothing, nothing, nothing, nothing)
