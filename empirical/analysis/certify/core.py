"""Fixed-sequence testing of the final layer's share (M3).

What is certified is the decoder that keeps a share of the final layer: for log-loss the linear
pool `share p_L + (1 - share) p_V` (M1), for accuracy the randomised rule that decodes `L` with
probability `share` (a pool's argmax cannot be told from traces). A share of 1 is plain decoding.

For each prompt (or group of prompts that are no independent draws) let `X` be its mean excess over
plain decoding. `X` is bounded above: by `log(1 / share)` nats, and by `1 - share` for accuracy. For
each share in turn, in the declared order, a bet is made against `E X >= alpha`
(`stopping.support.betting`), and the first that does not pay ends the sequence. Several rules share
`delta` equally. If the prompts are exchangeable with those to come, then

    P(the certified setting has an expected excess above alpha) <= delta,

for any model, lens and rule: a setting is wrongly certified only if the first share of its sequence
with a mean above `alpha` is, and that has probability `delta` at most. Nothing is said of any
single prompt, nor of prompts of another kind: see `exchange`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from empirical.analysis.validate.rows import reach
from empirical.model.fitted import require_own_fit
from empirical.traces.files import Traces
from stopping.errors import UserError
from stopping.rules import AbstractRule, choose_streams
from stopping.support.betting import p_value, values_needed
from stopping.support.results import Report, Result
from stopping.theory.mixtures import pool_bound, pool_loss
from stopping.types import FloatArray, IntArray

Loss = Literal["log-loss", "accuracy"]
Unit = Literal["prompt", "group"]

GRID = (0.99, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares of the final layer, in the order in which they are tested."""


@dataclass(frozen=True)
class Setting:
    """One share of the final layer, tested or not.

    Attributes
    ----------
    rule : str
        Text of the rule that chooses the other layer.
    share : float
        The final layer's.
    excess : float
        Mean over the units of their mean excess: nats, or accuracy lost.
    most : float
        Largest excess that any unit can have.
    p_value : float
        Of the bet against an expected excess of `alpha` or more; NaN where it was not made.
    certified : bool
    """

    rule: str
    share: float
    excess: float
    most: float
    p_value: float
    certified: bool


@dataclass(frozen=True)
class RiskCertificate(Result):
    """What may be switched on, at which risk.

    Attributes
    ----------
    settings : tuple of Setting
        Of each rule, in the order of the tests; its last certified one is what the test allows.
    level : float
        Error of each rule's sequence: `delta` over the number of rules.
    """

    model: str
    loss: Loss
    unit: Unit
    units: int
    tokens: int
    alpha: float
    delta: float
    level: float
    seed: int
    settings: tuple[Setting, ...]

    def items(self) -> tuple[Setting, ...]:
        """Settings."""
        return self.settings

    def report(self, name: str = "") -> Report:
        """A table and what may be signed."""
        from empirical.analysis.certify.tables import report

        return report(self, name)

    def allowed(self, rule: str) -> Setting | None:
        """The least share of the final layer that is certified for a rule; None where none is."""
        certified = [s for s in self.settings if s.rule == rule and s.certified]
        return certified[-1] if certified else None

    @property
    def best(self) -> Setting | None:
        """The certified setting that keeps least of the final layer, the first rule's among equals.

        None where no test was passed. All that is certified holds at once, so choosing among it
        costs nothing.
        """
        found = [s for rule in self.rules if (s := self.allowed(rule)) is not None]
        return min(found, key=lambda s: s.share, default=None)

    @property
    def rules(self) -> tuple[str, ...]:
        """Texts of the rules, in order."""
        return tuple(dict.fromkeys(s.rule for s in self.settings))


def certify_risk(
    traces: Traces,
    rules: Sequence[AbstractRule],
    alpha: float,
    delta: float = 0.1,
    loss: Loss = "log-loss",
    grid: Sequence[float] = GRID,
    unit: Unit = "prompt",
    seed: int = 0,
) -> RiskCertificate:
    """Certify the least share of the final layer that each rule's decoder must keep.

    Parameters
    ----------
    traces : Traces
        Of prompts that are exchangeable with those to come, with references of their own.
    rules : sequence of AbstractRule
    alpha : float
        Largest expected excess over plain decoding that is accepted: nats a token, or the share of
        tokens, within a unit and then over units.
    delta : float
        Probability of a wrong certificate.
    loss : {"log-loss", "accuracy"}
    grid : sequence of float
        Shares of the final layer, descending.
    unit : {"prompt", "group"}
        What is exchangeable: prompts, or groups of them (templates, documents, users).
    seed : int
        Of randomised rules, and of the order of the units.

    Raises
    ------
    UserError
        If `alpha`, `delta` or the grid is out of range or order; the references are the model's own
        text; prompts are not known; the traces reach less deep than a rule; or there are so few
        units that not even a decoder without any excess could pass the first test.
    """
    require_request(alpha, delta, grid, rules)
    level = delta / len(rules)
    units, labels = units_of(traces, unit, seed)
    columns = {"log-loss": ("log_prob",), "accuracy": ("top1", "token")}
    traces.require("certify", *columns[loss])
    settings: list[Setting] = []
    streams = np.random.SeedSequence(seed).spawn(len(rules))
    for rule, stream in zip(rules, streams, strict=True):
        require_own_fit(rule, traces.provenance.read_as)
        require_enough(units, alpha, level, loss, grid)
        choice = choose(rule, traces, np.random.default_rng(stream))
        settings += sequence(traces, rule, choice, labels, alpha, level, loss, grid)
    return RiskCertificate(
        model=traces.provenance.model,
        loss=loss,
        unit=unit,
        units=units,
        tokens=len(traces),
        alpha=alpha,
        delta=delta,
        level=level,
        seed=seed,
        settings=tuple(settings),
    )


def require_request(
    alpha: float, delta: float, grid: Sequence[float], rules: Sequence[AbstractRule]
) -> None:
    """Raise a UserError unless the request can be tested."""
    if not 0 < alpha < math.inf:
        raise UserError(f"alpha: the accepted excess must be above 0 and finite, got {alpha}")
    if not 0 < delta < 1:
        raise UserError(f"delta: the error must lie between 0 and 1, got {delta}")
    if not rules:
        raise UserError("rules: name at least one")
    if doubled := {r.name for r in rules if sum(r.name == other.name for other in rules) > 1}:
        raise UserError(f"rules: {', '.join(sorted(doubled))} given more than once")
    shares = np.asarray(grid, dtype=np.float64)
    if not (shares.size and (shares > 0).all() and (shares < 1).all()):
        raise UserError(f"grid: shares of the final layer lie between 0 and 1, got {list(grid)}")
    if (np.diff(shares) >= 0).any():
        raise UserError(
            f"grid: shares must descend, from the safest on, got {list(grid)}; the order is part "
            "of the test"
        )


def units_of(traces: Traces, unit: Unit, seed: int) -> tuple[int, IntArray]:
    """Return how many units there are, and the unit of each token.

    They are numbered in random order: a file may hold them in turns, as the built-in problems
    stand by template, and the bets take them one after the other.

    Raises
    ------
    UserError
        If the references are the model's own text, or the units are not known.
    """
    if traces.provenance.mode == "generated":
        raise UserError(
            "certify: the references are the model's own greedy text, where the final layer is "
            "right by construction; trace texts of another origin (--mode reference)"
        )
    if unit == "group" and not (traces.group != "").all():
        raise UserError(
            "certify: some prompts have no group; trace prompts with a `group` column, or take "
            "prompts as the units"
        )
    names, labels = np.unique(
        traces.prompt if unit == "prompt" else traces.group, return_inverse=True
    )
    if len(names) == len(traces) > 1:
        raise UserError(
            f"certify: every {unit} has one token; tokens of one text are no independent draws, "
            "so the traces must say which prompt each token belongs to"
        )
    return len(names), np.random.default_rng(seed).permutation(len(names))[labels]


def largest(loss: Loss, share: float) -> float:
    """Largest mean excess of any unit: nats (M1), or accuracy."""
    return pool_bound(share) if loss == "log-loss" else 1 - share


def require_enough(
    units: int, alpha: float, level: float, loss: Loss, grid: Sequence[float]
) -> None:
    """Raise a UserError where even a decoder without any excess would fail the first test."""
    tested = [most for share in grid if (most := largest(loss, share)) > alpha]
    if tested and units < (needed := values_needed(tested[0], alpha, level)):
        raise UserError(
            f"certify: {units} units are too few for an excess of {alpha:g} with an error of "
            f"{level:g}: not even a decoder without any excess could be certified below "
            f"{needed}; trace more prompts, or accept a larger alpha or delta"
        )


def choose(rule: AbstractRule, traces: Traces, rng: np.random.Generator) -> IntArray:
    """Return the column of the traces that a rule decodes, shape (n,)."""
    back, traced = reach(rule), len(traces.layers)
    if back >= traced:
        raise UserError(
            f"{rule.name}: needs {back + 1} traced layers, the traces have {traced}; ask for a "
            "smaller window, or trace more layers"
        )
    x = traces.entropy[:, -back - 1 :].astype(np.float64)
    chosen: IntArray = choose_streams(rule, x, traces.prompt, rng) + (traced - back - 1)
    return chosen


def excess(
    traces: Traces, choice: IntArray, labels: IntArray, loss: Loss, share: float
) -> FloatArray:
    """Mean excess of each unit over plain decoding, shape (units,)."""
    rows = np.arange(len(choice))
    if loss == "log-loss":
        losses = -traces.log_prob.astype(np.float64)
        by_token = pool_loss(losses[:, -1], losses[rows, choice], share) - losses[:, -1]
    else:
        wrong = (traces.top1 != traces.token[:, None]).astype(np.float64)
        by_token = (1 - share) * (wrong[rows, choice] - wrong[:, -1])
    mean: FloatArray = np.bincount(labels, by_token) / np.bincount(labels)
    return mean


def sequence(
    traces: Traces,
    rule: AbstractRule,
    choice: IntArray,
    labels: IntArray,
    alpha: float,
    level: float,
    loss: Loss,
    grid: Sequence[float],
) -> list[Setting]:
    """Test the shares of one rule, one after the other, until the first that fails."""
    settings, going = [], True
    for share in grid:
        found = excess(traces, choice, labels, loss, share)
        most = largest(loss, share)
        if not going:
            p = math.nan
        elif most <= alpha:  # by the bound alone, whatever the prompts
            p = 0.0
        else:
            p = p_value(found, most, alpha)
            going = p <= level
        settings.append(Setting(rule.spec(), share, float(found.mean()), most, p, going))
    return settings
