"""Claims S1 to S3: values of optimal stopping, by simulation of rules and bounds."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from stopping.changepoint import ChangePointModel
from stopping.claims.claim import Claim, Control
from stopping.optimal.bases import Polynomial
from stopping.optimal.belief import solve_belief
from stopping.optimal.chain import simulate, solve
from stopping.optimal.classics import secretary, secretary_success
from stopping.optimal.diagram import reference, world
from stopping.optimal.dual import Dual
from stopping.optimal.layers import LayerProblem
from stopping.optimal.regression import Policy, fit_policy
from stopping.optimal.rules import Bayes
from stopping.rules import Search
from stopping.simulation.montecarlo import Relation
from stopping.types import FloatArray

CANDIDATES = 20
COST = 0.05
QUIET_STEPS = 3
TOLERANCE = 2e-3
"""Nats: what the grid of the two-phase model may be off."""


@dataclass(frozen=True)
class MissesTheBest:
    """Indicator that letting `r - 1` candidates pass misses the best; `r = 0`: the optimal `r`."""

    r: int = 0

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        chain = secretary(CANDIDATES)
        stops = solve(chain).stops
        if self.r:
            stops = tuple(np.array([False, k >= self.r]) for k in range(1, CANDIDATES + 1))
        # The loss of a run is a probability; draw the event itself.
        return (rng.random(n) < simulate(chain, stops, rng, n)).astype(np.float64)


@lru_cache
def quiet_policy(cost: float) -> Policy:
    """Policy of the reference world without projection noise, and with a flat start."""
    component = reference(QUIET_STEPS)
    spread = np.full(QUIET_STEPS, 0.4)
    quiet = replace(
        component,
        start_sd=1e5,
        noise_sd=np.zeros(QUIET_STEPS + 1),
        rise_sd=spread,
        drift_sd=spread,
    )
    problem = LayerProblem(ChangePointModel((quiet,), np.ones(1)), cost)
    return fit_policy(problem, Polynomial(2), np.random.default_rng(0), 4_000)


@lru_cache
def quiet_value() -> float:
    """Its exact value, on a grid; found when the first value is drawn, not at import."""
    problem = quiet_policy(COST).problem
    assert isinstance(problem, LayerProblem)
    return solve_belief(problem.model.components[0], COST).value


@dataclass(frozen=True)
class DualBound:
    """Draws of the dual bound above the exact value, solved for that cost or another one."""

    cost: float = COST

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        return Dual(quiet_policy(self.cost), inner=16).draw(rng, n) - quiet_value()


@dataclass(frozen=True)
class SolvedLoss:
    """Exact value minus the loss of the solved rule, or of one that stops in hindsight."""

    hindsight: bool = False

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        policy = quiet_policy(COST)
        x = policy.problem.sample(rng, n)
        if not self.hindsight:
            return quiet_value() - policy.run(x)[1]
        looks = [policy.problem.look(x[:, : t + 1]).loss for t in range(x.shape[1])]
        least: FloatArray = quiet_value() - np.min(looks, axis=0)
        return least


@dataclass(frozen=True)
class BayesMinusSearch:
    """Excess of the Bayes rule minus that of the search, the rule told `told` times the noise."""

    told: float = 1.0

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        tokens = world(reference(), 0.3, 0.5).sample(rng, n)
        rule = Bayes(world(reference(), 0.3 * self.told, 0.5))
        return tokens.excess(rule.choose(tokens.x)) - tokens.excess(Search(6).choose(tokens.x))


CLAIMS = (
    Claim(
        "S1.secretary",
        f"the induction misses the best of {CANDIDATES} as rarely as the classical rule",
        Relation.MEAN_EQUALS,
        1 - max(secretary_success(CANDIDATES, r) for r in range(1, CANDIDATES + 1)),
        MissesTheBest(),
        Control("letting 2 candidates pass", MissesTheBest(3)),
        tolerance=0.01,
    ),
    Claim(
        "S2.dual",
        "the dual bound is at most the exact value of the two-phase model",
        Relation.MEAN_AT_MOST,
        TOLERANCE,
        DualBound(),
        Control("twice the cost", DualBound(2 * COST)),
        draws=4_000,
        block=1_000,
    ),
    Claim(
        "S2.primal",
        "the rule's loss is at least the exact value",
        Relation.MEAN_AT_MOST,
        TOLERANCE,
        SolvedLoss(),
        Control("stopping in hindsight", SolvedLoss(hindsight=True)),
        draws=1 << 16,
    ),
    Claim(
        "S3.bayes",
        "the Bayes rule's excess is at most the search's",
        Relation.MEAN_AT_MOST,
        0.0,
        BayesMinusSearch(),
        Control("a Bayes rule told 30 times the noise", BayesMinusSearch(30.0)),
        draws=1 << 16,
    ),
)
