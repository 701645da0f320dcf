"""What the best layer in hindsight wins, and how much of that is choosing after the fact.

If tokens were drawn from the final layer's own distribution, hindsight would win on average what
`empirical.logits.hindsight` computes. Only what it wins on the reference tokens beyond that says
that earlier layers know what the final layer does not.
"""

from dataclasses import dataclass

from empirical.intervals import mean
from empirical.traces.window import Sample
from stopping.support.statistics import Interval
from stopping.types import FloatArray


@dataclass(frozen=True)
class Ceiling:
    """Gains of the layer best in hindsight over the final one, nats; 95 % over clusters.

    Attributes
    ----------
    gain : Interval
        On the reference tokens.
    expected : Interval or None
        On tokens drawn from the final layer's distribution; None where the traces do not say.
    beyond : Interval or None
        The difference, paired.
    """

    gain: Interval
    expected: Interval | None
    beyond: Interval | None

    @property
    def explained(self) -> float | None:
        """Share of the gain that choosing after the fact explains."""
        return None if self.expected is None else self.expected.estimate / self.gain.estimate


def ceiling(sample: Sample) -> Ceiling:
    """Measure the ceiling of the window."""
    gain: FloatArray = sample.log_loss[:, -1] - sample.log_loss.min(axis=1)
    if not sample.traces.holds("hindsight_gain"):
        return Ceiling(sample.intervals({"gain": mean(gain)})["gain"], None, None)
    expected = sample.traces.hindsight_gain[:, -len(sample.layers)].astype(float)
    found = sample.intervals(
        {"gain": mean(gain), "expected": mean(expected), "beyond": mean(gain - expected)}
    )
    return Ceiling(**found)
