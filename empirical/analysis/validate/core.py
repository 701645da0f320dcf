"""Every rule on the same real tokens, against the final layer and the layer best in hindsight."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from empirical.analysis.decisions import MATERIAL, Comparison, Contest, decide
from empirical.analysis.validate import pools
from empirical.analysis.validate.ceiling import Ceiling, ceiling
from empirical.analysis.validate.pools import Pool, labels_of
from empirical.analysis.validate.rivals import rivals
from empirical.analysis.validate.rows import Outcome, Row, measure, reach
from empirical.intervals import bonferroni
from empirical.model.fitted import require_own_fit
from empirical.traces.files import Traces
from empirical.traces.window import Sample, take_sample
from stopping.errors import UserError
from stopping.rules import AbstractRule, Final, choose_streams, zoo
from stopping.support.results import Report, Result
from stopping.types import IntArray

ORACLE = "hindsight oracle"


@dataclass(frozen=True)
class Validation(Result):
    """Rules against the oracle layer on the tokens of one set of traces.

    Attributes
    ----------
    reference_is_own_text : bool
        The references are the final layer's own greedy choices: its accuracy is 100 % by
        construction, log-loss measures agreement with it, and no verdict about gains is given.
    clusters : int
        Number of groups, or of prompts, that intervals resample; `cluster_kind` says which.
    compared : int
        Number of rules and rivals compared with the final layer.
    level : float
        Level of each of these comparisons in the first step, for 5 % in all of them together.
    material : float
        Difference in nats beyond which a rule is called better or worse.
    ceiling : Ceiling
        What hindsight wins, and what of it is choosing after the fact.
    rivals : tuple of Row
        The model's own final layer, as it is and at its own temperature, where the traces allow.
    rows : tuple of Row
        The final layer first, then the other rules, the oracle last.
    """

    model: str
    prompts: int
    cluster_kind: str
    clusters: int
    tokens: int
    K: int
    seed: int
    replicates: int
    reference_is_own_text: bool
    compared: int
    level: float
    material: float
    ceiling: Ceiling
    rivals: tuple[Row, ...]
    rows: tuple[Row, ...]

    def items(self) -> tuple[Row, ...]:
        """Rules."""
        return self.rows

    def report(self, name: str = "", by_difficulty: bool = False) -> Report:
        """Tables and a summary. `name` is the file's."""
        from empirical.analysis.validate.tables import report

        return report(self, name, by_difficulty)

    def __getitem__(self, name: str) -> Row:
        """Return a row by the name or the spec of its rule."""
        for row in self.table:
            if name in (row.name, row.spec):
                return row
        raise KeyError(name)

    @property
    def final(self) -> Row:
        """The baseline."""
        return self.rows[0]

    @property
    def oracle(self) -> Row:
        """The hindsight row, no rule."""
        return self.rows[-1]

    @property
    def table(self) -> tuple[Row, ...]:
        """The final layer, its rivals, the other rules, and the oracle."""
        return (self.final, *self.rivals, *self.rows[1:])

    def count(self, comparison: Comparison) -> int:
        """Number of rules and rivals with this answer."""
        return sum(row.comparison is comparison for row in self.table)


def validate(
    traces: Traces,
    rules: Sequence[AbstractRule | Pool] | None = None,
    K: int = 10,
    seed: int = 0,
    replicates: int = 1000,
    material: float = MATERIAL,
) -> Validation:
    """Measure every rule against the final layer and the oracle layer.

    The oracle layer of a token is the layer of the window at which the reference token is most
    probable (the deepest among ties). It is hindsight: the gap to it bounds what any rule on this
    window could win, and is not attainable.

    Parameters
    ----------
    traces : Traces
        Tokens of two prompts or more.
    rules : sequence of AbstractRule or Pool, optional
        Default: the zoo at window `K`. The final layer is always measured. A pool (`mix`) is
        followed by the draw of the same weights.
    K : int
        Steps back that the window allows.
    seed, replicates : int
        Of the bootstrap over prompts, and of randomised rules.
    material : float
        Difference to the final layer's log-loss, nats, that counts: a rule is better or worse
        where its interval lies beyond zero by more than this.

    Raises
    ------
    UserError
        If `material` is negative or not finite, the window reaches below the traced layers, a rule
        reaches below the window, two rules have one name, or there are fewer than two prompts.
    """
    traces.require("validate", "log_prob", "top1", "token")
    if not 0 <= material < math.inf:
        raise UserError(f"material: needs a number of nats from 0 on, got {material}")
    sample = take_sample(traces, K, seed, replicates)
    given = default_rules(K) if rules is None else rules
    others = [rule for rule in given if not isinstance(rule, Final)]
    chooses = [rule.chosen_by if isinstance(rule, Pool) else rule for rule in others]
    for rule in chooses:
        require_reach(rule, K)
        require_own_fit(rule, traces.provenance.read_as)
    labels = [label for rule in others for label in labels_of(rule)]
    called = [name for name, _, _ in labels]
    if doubled := {name for name in called if called.count(name) > 1}:
        raise UserError(f"rules: {', '.join(sorted(doubled))} given more than once")

    oracle = oracle_layer(sample)
    streams = np.random.SeedSequence(seed).spawn(len(others))
    named = list(rivals(sample))
    outcomes = [outcome for _, outcome in named]
    contests = [Contest.of_difference(o.loss - sample.log_loss[:, -1]) for o in outcomes]
    for decoder, rule, stream in zip(others, chooses, streams, strict=True):
        # A rule that remembers begins each prompt anew, as the decoder does each text.
        choice = choose_streams(rule, sample.x, traces.prompt, np.random.default_rng(stream))
        if isinstance(decoder, Pool):
            for outcome, contest in pools.outcomes(sample, decoder, choice):
                outcomes.append(outcome)
                contests.append(contest)
            continue
        projections = rule.projections(sample.x).astype(np.float64)
        outcomes.append(Outcome.of_choice(sample, choice, projections))
        contests.append(Contest.of_choice(sample.log_loss, choice))
    decisions = decide(contests, sample, material)
    labels = [(name, "", "rival") for name, _ in named] + labels
    rows = [
        Row(name, spec, kind, *measure(sample, outcome, oracle), decision)
        for (name, spec, kind), outcome, decision in zip(labels, outcomes, decisions, strict=True)
    ]
    unknown = np.full(len(oracle), math.nan)
    hindsight = Outcome.of_choice(sample, oracle, unknown)
    return Validation(
        model=traces.provenance.model,
        prompts=sample.prompts,
        cluster_kind=sample.cluster_kind,
        clusters=len(np.unique(sample.clusters)),
        tokens=len(traces),
        K=K,
        seed=seed,
        replicates=replicates,
        reference_is_own_text=sample.own_text,
        compared=len(contests),
        level=bonferroni(len(contests)),
        material=material,
        ceiling=ceiling(sample),
        rivals=tuple(rows[: len(named)]),
        rows=(
            _final_row(sample, oracle),
            *rows[len(named) :],
            Row(ORACLE, "", "oracle", *measure(sample, hindsight, oracle), None),
        ),
    )


def default_rules(K: int) -> tuple[AbstractRule, ...]:
    """Return the zoo at window `K`, without the fixed layers that lie below the window."""
    return tuple(rule for rule in zoo(K) if reach(rule) <= K)


def require_reach(rule: AbstractRule, K: int) -> None:
    """Raise `UserError` if `rule` may choose a layer below the window."""
    if reach(rule) > K:
        raise UserError(
            f"rule {rule.spec()}: reaches {reach(rule)} layers back, the window only {K}; "
            "shorten the rule's or widen the window"
        )


def oracle_layer(sample: Sample) -> IntArray:
    """Window column of least log-loss for each token, the deepest among ties, shape (n,)."""
    depth = sample.log_loss[:, ::-1].argmin(axis=1)
    layer: IntArray = sample.log_loss.shape[1] - 1 - depth
    return layer


def _final_row(sample: Sample, oracle: IntArray) -> Row:
    rule = Final()
    projections = rule.projections(sample.x).astype(np.float64)
    outcome = Outcome.of_choice(sample, rule.choose(sample.x), projections)
    return Row(rule.name, rule.spec(), "rule", *measure(sample, outcome, oracle), None)
