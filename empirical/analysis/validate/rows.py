"""What is measured about one rule: a row of means with intervals over clusters."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from empirical.analysis.decisions import Comparison, Decision
from empirical.intervals import Ratio, mean
from empirical.traces.window import Sample
from stopping.rules import AbstractRule
from stopping.support.statistics import Interval
from stopping.types import BoolArray, FloatArray, IntArray

Kind = Literal["rule", "pool", "draw", "rival", "oracle"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a rule, or a rival that chooses no layer, makes of each token, each of shape (n,).

    `loss` is the log-loss and `entropy` that of the distribution, nats; `right` whether its most
    probable token is the reference, `changed` whether it is not the final layer's; `moved` whether
    the layer is not the final one, `depth` how far before it, and `projections` how many beyond the
    final layer's. Of a random decoder all are expectations. NaN where it is not known.
    """

    loss: FloatArray
    entropy: FloatArray
    right: FloatArray
    changed: FloatArray
    moved: FloatArray
    depth: FloatArray
    projections: FloatArray

    @classmethod
    def of_choice(cls, sample: Sample, choice: IntArray, projections: FloatArray) -> "Outcome":
        """Return the outcome of a choice of window columns."""
        tokens, last = np.arange(len(choice)), sample.x.shape[1] - 1
        top1 = sample.top1[tokens, choice]
        return cls(
            loss=sample.log_loss[tokens, choice],
            entropy=sample.x[tokens, choice],
            right=(top1 == sample.traces.token).astype(np.float64),
            changed=(top1 != sample.top1[:, -1]).astype(np.float64),
            moved=(choice != last).astype(np.float64),
            depth=(last - choice).astype(np.float64),
            projections=projections,
        )


@dataclass(frozen=True)
class Measures:
    """Means over a set of tokens, 95 % intervals over clusters; the layer is the rule's choice.

    Attributes
    ----------
    log_loss : Interval
        `-log p(reference token)`, nats.
    accuracy : Interval
        Share of tokens whose most probable token is the reference.
    regret : Interval
        Log-loss above the hindsight oracle's, paired, nats; never negative.
    log_loss_vs_final, accuracy_vs_final : Interval
        Paired differences to the final layer.
    moved : Interval
        Share of tokens whose layer is not the final one.
    substituted, substituted_when_moved : Interval
        Share of all tokens, and of the moved ones, whose most probable token changes.
    depth, projections : Interval
        Traced layers before the final one; projections beyond the final layer's of a lazy
        implementation. NaN for the oracle's projections, for it is no implementation.
    entropy, drop : Interval
        Entropy at the chosen layer, and how far it lies below the final layer's: what is promised.
    optimism, optimism_vs_final : Interval
        Log-loss minus entropy at the chosen layer, by how much it over-promises; and the same minus
        the final layer's. By C1

            log_loss_vs_final = -drop + optimism_vs_final,

        exactly. A rule that picks low entropies may pick each layer on the tokens on which it is
        over-confident (a winner's curse): then its optimism exceeds the mean gap of its layers.
    right_to_wrong, wrong_to_right : int or None
        Tokens whose prediction the move turns wrong, and right; of a random decoder how many are
        expected, rounded; None where predictions are not known.
    """

    tokens: int
    log_loss: Interval
    accuracy: Interval
    regret: Interval
    log_loss_vs_final: Interval
    accuracy_vs_final: Interval
    moved: Interval
    substituted: Interval
    substituted_when_moved: Interval
    depth: Interval
    projections: Interval
    entropy: Interval
    drop: Interval
    optimism: Interval
    optimism_vs_final: Interval
    right_to_wrong: int | None
    wrong_to_right: int | None


@dataclass(frozen=True)
class GroupMeasures:
    """The measures on the tokens of one difficulty (0: unknown)."""

    difficulty: int
    measures: Measures


@dataclass(frozen=True)
class Row:
    """One rule, or the oracle, which is none.

    Attributes
    ----------
    name, spec : str
        Name for tables; text that `stopping.rules.parse_rule` reads, empty where there is no rule.
    kind : {"rule", "pool", "draw", "rival", "oracle"}
        A pool decodes no single layer, a draw is that of a pool's weights, a rival chooses none,
        and the hindsight oracle sees the reference token, as no rule does.
    decision : Decision or None
        Log-loss against the final layer, at a level adjusted for all that is compared; None for
        the final layer itself and the oracle.
    """

    name: str
    spec: str
    kind: Kind
    overall: Measures
    by_difficulty: tuple[GroupMeasures, ...]
    decision: Decision | None

    @property
    def decisive(self) -> Interval | None:
        """The interval that decides; None where there is nothing to decide."""
        return None if self.decision is None else self.decision.interval

    @property
    def comparison(self) -> Comparison | None:
        """What it says."""
        return None if self.decision is None else self.decision.comparison


def reach(rule: AbstractRule) -> int:
    """Return the number of steps back that a rule may take."""
    return int(getattr(rule, "K", getattr(rule, "k", 0)))


def measure(
    sample: Sample, outcome: Outcome, oracle: IntArray
) -> tuple[Measures, tuple[GroupMeasures, ...]]:
    """Measure an outcome, overall and by difficulty.

    Parameters
    ----------
    oracle : ndarray of int, shape (n,)
        Window columns of the layers best in hindsight.
    """
    loss, entropy, right, changed = outcome.loss, outcome.entropy, outcome.right, outcome.changed
    final_loss = sample.log_loss[:, -1]
    final_right = (sample.top1[:, -1] == sample.traces.token).astype(np.float64)
    columns: dict[str, FloatArray] = {
        "log_loss": loss,
        "accuracy": right,
        "regret": loss - sample.log_loss[np.arange(len(loss)), oracle],
        "log_loss_vs_final": loss - final_loss,
        "accuracy_vs_final": right - final_right,
        "moved": outcome.moved,
        "substituted": changed,
        "depth": outcome.depth,
        "projections": outcome.projections,
        "entropy": entropy,
        "drop": sample.x[:, -1] - entropy,
        "optimism": loss - entropy,
        "optimism_vs_final": loss - entropy - (final_loss - sample.x[:, -1]),
    }
    everything = np.ones(len(loss), dtype=np.bool_)
    masks: dict[int | None, BoolArray] = {None: everything}
    masks.update(sample.groups().items())
    ratios: dict[str, Ratio] = {
        f"{name} {group}": mean(column, mask)
        for group, mask in masks.items()
        for name, column in columns.items()
    }
    ratios |= {
        f"substituted_when_moved {group}": Ratio(changed * mask, outcome.moved * mask)
        for group, mask in masks.items()
    }
    found = sample.intervals(ratios)

    def of(group: int | None) -> Measures:
        mask = masks[group]
        return Measures(
            tokens=int(mask.sum()),
            **{name: found[f"{name} {group}"] for name in (*columns, "substituted_when_moved")},
            right_to_wrong=_count((final_right * (1 - right))[mask]),
            wrong_to_right=_count(((1 - final_right) * right)[mask]),
        )

    by_difficulty = tuple(GroupMeasures(d, of(d)) for d in masks if d is not None)
    return of(None), by_difficulty


def _count(expected: FloatArray) -> int | None:
    """Sum of the chances of so many tokens; None where one is not known."""
    total = expected.sum()
    return None if np.isnan(total) else round(float(total))
