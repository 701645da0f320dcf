"""What is found out about learned rules: one row a rule, why each regression wins or loses."""

from dataclasses import dataclass

from empirical.analysis.validate import Comparison
from empirical.fitting.learning.power import Needed
from stopping.support.statistics import Interval


@dataclass(frozen=True)
class LearnedRow:
    """One rule on held-out prompts, against the final layer of the same lens.

    Attributes
    ----------
    name, kind : str
        `kind` is "learned", "theory", "paper", "rival" or "hindsight".
    log_loss : Interval
        Change of log-loss, nats per token, 95 % over prompts.
    decisive : Interval or None
        The same at the level adjusted for the number of rules; None for hindsight.
    comparison : Comparison or None
        What `decisive` says; None for hindsight and on the model's own text.
    accuracy : Interval
        Change of the share of right next tokens.
    moved : Interval
        Share of tokens not decoded from the final layer.
    promised : float
        Mean change that the rule expected: of log-loss if it was learned, of entropy if it comes
        from a fitted model; NaN if it expects nothing.
    projections : float
        Projections beyond the final layer's.
    """

    name: str
    kind: str
    log_loss: Interval
    decisive: Interval | None
    comparison: Comparison | None
    accuracy: Interval
    moved: Interval
    promised: float
    projections: float


@dataclass(frozen=True)
class Diagnosis:
    """Why a regression wins or loses.

    Attributes
    ----------
    regressor : str
    explained : tuple of float
        Held-out R^2 of the clipped differences, one for each layer of the window below `L`.
    promised, delivered : float
        Mean change of log-loss at margin 0: predicted, and true.
    best_margin, best : float
        The margin of least loss in hindsight, and the mean change with it; infinite and 0 if none
        is a gain.
    curve : tuple of (float, float)
        Fraction of the training prompts, and the mean change at margin 0.
    margins : tuple of float
        What the folds chose.
    """

    regressor: str
    explained: tuple[float, ...]
    promised: float
    delivered: float
    best_margin: float
    best: float
    curve: tuple[tuple[float, float], ...]
    margins: tuple[float, ...]


@dataclass(frozen=True)
class Learned:
    """Everything about one trace file."""

    model: str
    lens: str
    with_lens: str | None
    prompts: int
    tokens: int
    K: int
    features: int
    seed: int
    reference_is_own_text: bool
    last_log_loss: float
    level: float
    material: float
    rows: tuple[LearnedRow, ...]
    diagnoses: tuple[Diagnosis, ...]
    power: tuple[Needed, ...]

    def __getitem__(self, name: str) -> LearnedRow:
        """Return a row by its name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)
