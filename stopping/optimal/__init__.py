"""Layer selection as an optimal stopping problem: the best possible rule, exactly or in a bracket.

Conventions, the same in all modules:

- **Losses, not rewards.** The value `V` is the *least* expected loss. A reward is minus a loss;
  what bounds a reward from below bounds the loss from above.
- **Time runs backwards through the layers.** Time `t` is the number of projections made beyond the
  final layer's; at `t` the layers `L, L-1, .., L-t` have been read. `t = 0` costs nothing, as the
  model reads `L` anyway; the horizon is `T = K`, the end of the window.
- **Information.** `F[t]` is what `x[L-t..L]` says and nothing else. A stopping time `nu` decides
  `nu = t` by `F[t]` alone; in code, by the slice `history[:, :t + 1]`.
- **Cost.** Each projection costs `c >= 0` nats, so a rule that makes `t` projections pays `c t`.
- **Loss.** `Y[t]` is `c t` plus the expected excess of the layer that is decoded, given `F[t]`:
  layer `L - t` without recall, the best of `L-t..L` with recall.
- **The Snell envelope** `V[t] = min(Y[t], E[V[t+1] | F[t]])`, `V[T] = Y[T]`, is the largest
  submartingale below `Y` (for rewards: the least supermartingale above the payoff). Stopping when
  `V[t] = Y[t]` for the first time is optimal, and of all optimal times the first.

Results: **S1** exact induction (`chain`, `belief`), **S2** regression and dual bound
(`regression`, `dual`), **S3** the Bayes rule on the full window (`rules.Bayes`). `classics` holds
problems with known answers, `layers` the one this package is about, `comparison` the optimum
against every rule, `diagram` where the paper's search comes close to it.
"""

from stopping.optimal.belief import BeliefSolution, solve_belief
from stopping.optimal.chain import Chain, Solution, evaluate, simulate, solve, with_recall
from stopping.optimal.dual import Dual
from stopping.optimal.layers import LayerProblem
from stopping.optimal.problem import AbstractProblem, View
from stopping.optimal.regression import Policy, fit_policy
from stopping.optimal.rules import Bayes, Snell, save_rule

__all__ = [
    "AbstractProblem",
    "Bayes",
    "BeliefSolution",
    "Chain",
    "Dual",
    "LayerProblem",
    "Policy",
    "Snell",
    "Solution",
    "View",
    "evaluate",
    "fit_policy",
    "save_rule",
    "simulate",
    "solve",
    "solve_belief",
    "with_recall",
]
