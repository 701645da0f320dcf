"""The theorems: one file a group, one pure function a bound.

| label | what it says | where |
|---|---|---|
| T1 | containment: the search never stops above `V*` | `bounds.containment_margin` |
| T2 | excess: it loses at most `2 eps_max` | `bounds.excess_bound` |
| T3 | overshoot below the onset | `bounds.overshoot_bound` |
| T4 | never much worse than the final layer | `bounds.final_layer_bound` |
| T5 | tolerance | `bounds.tolerance_bound` |
| T6 | no deterministic rule does better | `games.deterministic_value`; the guarded search (Algorithm 1 with one line changed) `guarded.guarded_search` |
| T7 | randomising halves it; the hedged search | `games.randomised_value`, `guarded.hedged_search`; the paper's `p`: `mixing` |
| T8 | certificate of one token | `certificates.certify`; its linear program: `linear_programs` |
| T9 | which noise levels explain a token | `identification.identify` |
| T10 | tails under independent noise | `bounds.stop_above_bound`, `bounds.excess_tail_bound`, `bounds.expected_excess_bound` |
| T11 | fewer than `e - 2` layers | `bounds.run_bound`, `bounds.expected_overshoot_bound` |
| T12 | the exact distribution of the stopping layer | `exact.stopping_distribution` |
| T13 | the average case | `averages.average_case`, `worst_drifts`; proved: `uniform_average`, `adaptive_average` |
| T14 | dependent noise: increments, exchangeable layers, the law of halves | `dependent` |
| T15 | what A3 buys: the game under A2 alone | `hedged_minimum.hedged_minimum`, `hedged_minimum.window_game_value` |
| T16 | a valley with a rounded floor | `bounds.rounded_valley_bound` |
| T17 | an unknown noise level | `adaptive_guard.running_guard` |
| C1 | the change of log-loss, an identity | `calibration_budget.log_loss_change` |
| C2 | calibrated given the entropies | `calibration_budget.final_layer_budget` |
| C3 | calibrated given the latent entropies | `calibration_budget.turning_point_budget` |
| C4 | the winner's curse | `calibration_budget.curse_bound` |
| M1, M2 | pools of two layers against a draw between them | `mixtures.pool_loss`, `mixtures.pool_bound` |
| M3 | how much of the final layer to keep, certified | `stopping.support.betting`, `empirical.analysis.certify` |

Algorithm 1 itself is `stopping.rules.Search`; S1 to S3 are in `stopping.optimal`; the posterior of
`V*` is in `stopping.changepoint.posterior`. Each theorem's check by simulation stands in
`stopping.claims`.
"""  # noqa: E501  # a table's row is one line
