"""The optimum in a bracket, and how far every rule is from it, on the same tokens.

A rule's loss at a token is `E[excess(l) | x] + c projections` for the layer `l` that it chooses,
with the expectation given the *whole* window: the same mean as the excess itself, with less
variance. All rules are judged on the same fresh tokens, so gaps are paired.

The value with recall bounds every rule that reads backwards and every rule that reads its whole
window (it pays `c K`). At a positive cost it does not bound two others, marked `bounded = False`: a
fixed layer is decoded without reading those above it, and a forward exit reads in the other order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from stopping.changepoint import ChangePointModel
from stopping.errors import UserError
from stopping.optimal.bases import AbstractBasis, Polynomial
from stopping.optimal.budget import BudgetedBound, dual_bound
from stopping.optimal.filtering import ScanFilter
from stopping.optimal.layers import LayerProblem
from stopping.optimal.region import RegionSample, region_samples
from stopping.optimal.regression import fit_policy
from stopping.optimal.rules import Bayes, Snell
from stopping.rules import AbstractRule, FixedOffset, ForwardExit, zoo
from stopping.simulation.montecarlo import Estimate, blocks, estimate, stream
from stopping.support.parallel import Workers, in_order
from stopping.support.results import Report, Result
from stopping.types import FloatArray

BLOCK = 1 << 12
LEVEL = 0.95
CONTROL = Polynomial(1, 1)
"""Of the martingale by regression."""
MAX_PATHS = 20_000


@dataclass(frozen=True)
class Gap:
    """A rule against the optimal one, on common tokens.

    Attributes
    ----------
    name, spec : str
    loss, stderr : float
        Mean excess plus cost, nats, and its standard error.
    gap, gap_stderr : float
        Loss above that of the optimal rule found, paired; negative if the rule did better. Its gap
        to the optimum is no smaller.
    most, most_stderr : float
        Loss above the dual bound: the gap to the optimum is no larger.
    projections : float
        Mean projections.
    share_final : float
        Share of tokens decoded from the final layer.
    bounded : bool
        Whether the value bounds this rule.
    """

    name: str
    spec: str
    loss: float
    stderr: float
    gap: float
    gap_stderr: float
    most: float
    most_stderr: float
    projections: float
    share_final: float
    bounded: bool


@dataclass(frozen=True)
class Bracket:
    """The value between its two estimates and their errors.

    Attributes
    ----------
    low, high : float
        Lower end of the lower bound's interval, upper end of the upper bound's, nats.
    level : float
        Of either interval; the two together hold the value at least so often.
    crossed : bool
        Whether the lower bound's mean lies above the upper bound's, which errors alone can do.
    about : float
        Midpoint of the two means.
    """

    low: float
    high: float
    level: float
    crossed: bool
    about: float

    @property
    def explained(self) -> bool:
        """Whether the errors allow the two means to lie as they do."""
        return self.low <= self.high


@dataclass(frozen=True, eq=False)
class RuleComparison(Result):
    """What `compare_rules` found.

    Attributes
    ----------
    upper : Estimate
        Mean loss of the optimal rule found, on fresh tokens: the value is at most this.
    dual : BudgetedBound
        How the value was bounded from below.
    gaps : tuple of Gap
        Every rule, the optimal one first.
    region : tuple of RegionSample
    rule : Snell
        The optimal rule found.
    """

    cost: float
    recall: bool
    paths: int
    seed: int
    upper: Estimate
    dual: BudgetedBound
    gaps: tuple[Gap, ...]
    region: tuple[RegionSample, ...]
    rule: Snell

    def items(self) -> tuple[Gap, ...]:
        """Rules."""
        return self.gaps

    def report(self) -> Report:
        """The value in its bracket, the region, and every gap."""
        from stopping.optimal.tables import report

        return report(self)

    @property
    def lower(self) -> Estimate:
        """Dual bound: the value is at least this."""
        return self.dual.estimate

    @property
    def bracket(self) -> Bracket:
        """Where the value lies."""
        low, high = self.lower, self.upper
        return Bracket(
            low=low.low,
            high=high.high,
            level=low.level,
            crossed=low.mean > high.mean,
            about=(low.mean + high.mean) / 2,
        )

    def __getitem__(self, name: str) -> Gap:
        """Return a rule's row by its name."""
        for gap in self.gaps:
            if gap.name == name:
                return gap
        raise KeyError(name)


def compare_rules(
    model: ChangePointModel,
    cost: float,
    recall: bool = True,
    *,
    rules: Sequence[AbstractRule] | None = None,
    basis: AbstractBasis | None = None,
    paths: int = MAX_PATHS,
    dual_budget: int = 1 << 17,
    seed: int = 0,
    workers: Workers | None = None,
) -> RuleComparison:
    """Solve the layer problem and evaluate every rule.

    Parameters
    ----------
    rules : sequence of AbstractRule, optional
        Default: the zoo at the model's window, and the Bayes rule.
    basis : AbstractBasis, optional
        Of the regression; default: polynomials of degree 3, products of two features.
    paths : int
        Tokens of the regression and of the evaluation.
    dual_budget : int
        Projections that the dual bound may draw; see `stopping.optimal.budget`.
    workers : Workers, optional
        Of the bounds and of the evaluation; results do not depend on them.

    Raises
    ------
    UserError
        If a rule reaches below the window, two have one name, or a number is out of range.
    """
    problem = LayerProblem(model, cost, recall)
    others = default_rules(model) if rules is None else tuple(rules)
    names = [rule.name for rule in others]
    if len(set(names)) < len(names):
        raise UserError("rules: two have one name")
    snell = optimal_rule(problem, basis or Polynomial(), paths, seed)
    policy = snell.policy
    dual = dual_bound(policy, dual_budget, seed, level=LEVEL, workers=workers)
    upper = estimate(
        policy.draw, paths, seed, name="primal", level=LEVEL, block=BLOCK, workers=workers
    )
    if snell.name in names:
        raise UserError(f"rules: {snell.name} is the name of the one to be solved")
    compared: tuple[AbstractRule, ...] = (snell, *others)
    table = losses(model, compared, paths, seed, workers)
    gaps = tuple(
        _gap(rule, table[:, :, i], table[:, :, 0], cost, dual.estimate)
        for i, rule in enumerate(compared)
    )
    seen = region_samples(policy, problem.sample(stream(seed, "region", 0), min(paths, BLOCK)))
    return RuleComparison(cost, recall, paths, seed, upper, dual, gaps, seen, snell)


def optimal_rule(problem: LayerProblem, basis: AbstractBasis, paths: int, seed: int) -> Snell:
    """Solve the layer problem by regression on `paths` tokens of its model."""
    rng = stream(seed, "regression", 0)
    return Snell(fit_policy(problem, basis, rng, paths, control=CONTROL))


def losses(
    model: ChangePointModel,
    rules: Sequence[AbstractRule],
    paths: int,
    seed: int,
    workers: Workers | None = None,
) -> FloatArray:
    """Excess, projections and whether `L` was chosen, by fresh token, of every rule.

    Returns
    -------
    ndarray, shape (paths, 3, rules)
    """
    jobs = (
        partial(_losses, model, rules, seed, index, size) for index, size in blocks(paths, BLOCK)
    )
    return np.concatenate(list(in_order(jobs, workers)))


def bounded(rule: AbstractRule, cost: float) -> bool:
    """Whether the value bounds a rule."""
    free = isinstance(rule, ForwardExit) or (isinstance(rule, FixedOffset) and rule.k > 0)
    return cost == 0 or not free


def default_rules(model: ChangePointModel) -> tuple[AbstractRule, ...]:
    """Return the zoo within the model's window, and the Bayes rule of the model."""
    fixed = [r for r in zoo(model.K) if not isinstance(r, FixedOffset) or r.k <= model.K]
    return (*fixed, Bayes(model))


def _losses(
    model: ChangePointModel,
    rules: Sequence[AbstractRule],
    seed: int,
    index: int,
    size: int,
) -> FloatArray:
    rng = stream(seed, "pricing", index)
    x = model.sample(rng, size).x
    excess = ScanFilter(model).known(x[:, ::-1]).excess
    found = np.empty((size, 3, len(rules)))
    rows = np.arange(size)
    for i, rule in enumerate(rules):
        choice = rule.choose(x, rng)
        found[:, 0, i] = excess[rows, choice]
        found[:, 1, i] = rule.projections(x)
        found[:, 2, i] = choice == model.w - 1
    return found


def _gap(
    rule: AbstractRule, own: FloatArray, best: FloatArray, cost: float, lower: Estimate
) -> Gap:
    loss = own[:, 0] + cost * own[:, 1]
    difference = loss - (best[:, 0] + cost * best[:, 1])
    root = np.sqrt(len(loss))
    return Gap(
        name=rule.name,
        spec=rule.spec(),
        loss=float(loss.mean()),
        stderr=float(loss.std(ddof=1) / root),
        gap=float(difference.mean()),
        gap_stderr=float(difference.std(ddof=1) / root),
        most=float(loss.mean()) - lower.mean,
        most_stderr=math.hypot(float(loss.std(ddof=1) / root), lower.stderr),
        projections=float(own[:, 1].mean()),
        share_final=float(own[:, 2].mean()),
        bounded=bounded(rule, cost),
    )
