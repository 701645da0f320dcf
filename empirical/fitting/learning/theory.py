"""The rules of a fitted model on tokens of prompts that it has not seen.

Each half of the prompts is fitted with the change-point model; the rules that the fit recommends
are then applied to the other half: the Bayes rule (S3), the Snell rule at a cost (S2), and the
*best in sample*, the rule of the zoo with the least loss under the fit. Theory promises what it
would lose or win in expected excess entropy; what it does in log-loss is measured.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from empirical.fitting.learning.crossfit import deal
from stopping.changepoint import ChangePointModel, Scale
from stopping.changepoint.estimate import fit, layout_for
from stopping.optimal.bases import Polynomial
from stopping.optimal.comparison import bounded, default_rules, losses, optimal_rule
from stopping.optimal.layers import LayerProblem
from stopping.optimal.rules import Bayes
from stopping.rules import AbstractRule, Final
from stopping.support.parallel import Workers, in_order
from stopping.types import FloatArray, IntArray

PATHS = 4_000
CLASSES = 2
STARTS, ITERATIONS = 2, 200


@dataclass(frozen=True, eq=False)
class TheoryChoice:
    """One rule of the fitted models.

    Attributes
    ----------
    name : str
        That of the best in sample with the names of the rules chosen on either half.
    choice : ndarray of int, shape (n,)
        Window column of each token.
    projections : ndarray, shape (n,)
    promised : ndarray, shape (n,)
        Expected entropy of the layer chosen minus that of `L`, by the model of the other half,
        nats.
    """

    name: str
    choice: IntArray
    projections: FloatArray
    promised: FloatArray


def crossfit_theory(
    x: FloatArray,
    prompt: IntArray,
    cost: float,
    scale: Scale,
    seed: int = 0,
    workers: Workers | None = None,
) -> tuple[TheoryChoice, ...]:
    """Fit on each half of the prompts, choose on the other; `x` is the window, (n, w), nats."""
    fold = deal(prompt, 2, np.random.default_rng(seed))
    jobs = (
        partial(_half, x[fold != half], prompt[fold != half], x[fold == half], cost, scale, seed)
        for half in range(2)
    )
    halves = list(in_order(jobs, workers))
    return tuple(
        _joined([half[i] for half in halves], [fold == 0, fold == 1]) for i in range(len(halves[0]))
    )


def _half(
    train: FloatArray,
    prompt: IntArray,
    test: FloatArray,
    cost: float,
    scale: Scale,
    seed: int,
) -> list[TheoryChoice]:
    layout = layout_for(train, CLASSES, scale)
    model = fit(train, prompt, layout, seed, starts=STARTS, iterations=ITERATIONS).model
    rules = [rule for rule in default_rules(model) if not isinstance(rule, Bayes)]
    snell = optimal_rule(LayerProblem(model, cost), Polynomial(2), PATHS, seed)
    table = losses(model, (snell, *rules), PATHS, seed)
    mean = (table[:, 0] + cost * table[:, 1]).mean(axis=0)[1:]
    best = rules[int(np.where([bounded(rule, cost) for rule in rules], mean, np.inf).argmin())]
    chosen = (("bayes", Bayes(model)), (snell.name, snell))
    return [
        *(_apply(name, rule, model, test) for name, rule in chosen),
        _apply(f"best in sample: {best.name}", best, model, test),
    ]


def _apply(name: str, rule: AbstractRule, model: ChangePointModel, x: FloatArray) -> TheoryChoice:
    choice = rule.choose(x)
    latent = Bayes(model).expected_excess(x)
    rows = np.arange(len(x))
    promised = latent[rows, choice] - latent[rows, Final().choose(x)]
    return TheoryChoice(name, choice, rule.projections(x).astype(np.float64), promised)


def _joined(halves: list[TheoryChoice], where: list[IntArray]) -> TheoryChoice:
    n = len(where[0])
    choice, projections, promised = np.empty(n, dtype=np.intp), np.empty(n), np.empty(n)
    for half, mask in zip(halves, where, strict=True):
        choice[mask], projections[mask], promised[mask] = (
            half.choice,
            half.projections,
            half.promised,
        )
    names = dict.fromkeys(half.name.removeprefix("best in sample: ") for half in halves)
    label = " / ".join(names)
    prefix = "best in sample: " if halves[0].name.startswith("best in sample: ") else ""
    return TheoryChoice(prefix + label, choice, projections, promised)
