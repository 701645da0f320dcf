"""What pools are asked and what they say: predictors, each beside its baseline."""

from dataclasses import dataclass

from stopping.support.results import Report, Result
from stopping.support.statistics import Interval

FINAL, OWN, READ = (
    "final layer",
    "final layer, own temperature",
    "final layer, temperature from its entropy",
)
LINEAR, GATED = "linear pool, global weights", "linear pool, weights from entropies"
LOG_LINEAR, LOG_GATED = "log-linear pool, global weights", "log-linear pool, weights from entropies"
ALONE, ALL = "correction from the final state alone", "correction from all these states"
HINDSIGHT = "hindsight: best of these layers"
BASELINES = {LINEAR: OWN, GATED: READ, LOG_LINEAR: OWN, LOG_GATED: READ, ALL: ALONE}
"""The same thing without the earlier layers."""


@dataclass(frozen=True)
class Settings:
    """How pools are made: of the last `layers` layers, corrections of rank `rank`."""

    layers: int = 5
    rank: int = 16
    epochs: int = 8
    seed: int = 1


@dataclass(frozen=True)
class Row:
    """One predictor on the test tokens, 95 % intervals over prompts, or groups of them.

    Attributes
    ----------
    log_loss, accuracy : Interval
        Nats; share of tokens whose most probable token is the reference.
    log_loss_vs_own, accuracy_vs_own : Interval
        Minus those of the final layer at its own temperature, paired.
    earlier : Interval or None
        Log-loss minus that of the same thing without the earlier layers, at the level adjusted for
        all such comparisons (Bonferroni); None where there is no such thing.
    """

    name: str
    log_loss: Interval
    accuracy: Interval
    log_loss_vs_own: Interval
    accuracy_vs_own: Interval
    earlier: Interval | None


@dataclass(frozen=True)
class Pools(Result):
    """What earlier layers add, on test tokens.

    Attributes
    ----------
    layers : tuple of int
        Numbers of the layers that are pooled.
    temperature : tuple of float
        Of each of them.
    training, validation, tokens : int
        Numbers of tokens; `tokens` are those of the test.
    clusters : int
        What intervals resample: so many prompts, or groups of them.
    """

    model: str
    layers: tuple[int, ...]
    temperature: tuple[float, ...]
    settings: Settings
    training: int
    validation: int
    tokens: int
    prompts: int
    clusters: int
    rows: tuple[Row, ...]

    def items(self) -> tuple[Row, ...]:
        """Predictors."""
        return self.rows

    def __getitem__(self, name: str) -> Row:
        """Return a row by its name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def report(self, name: str = "") -> Report:
        """A table and a sentence."""
        from empirical.studies.pools.tables import report

        return report(self)
