"""Claims T1-T5: every world, the worst noise, no exception."""

from functools import partial

import numpy as np

from stopping.claims.claim import Claim, Control
from stopping.claims.worlds import JUST, LAYERS, adversarial_worlds, unstructured_worlds
from stopping.model.noise import worst_noise
from stopping.model.paths import Paths, at
from stopping.rules import Search, Shifted, Tolerance
from stopping.simulation.montecarlo import Relation
from stopping.theory.bounds import (
    lower_containment_counterexample,
    overshoot_bound,
    tolerance_bound,
)
from stopping.types import FloatArray

K = LAYERS - 1
ROUNDING = 1e-9
"""Rounding of sums of a few numbers of size up to 100: far above float64's, far below eps_max."""


def above_turning(rng: np.random.Generator, n: int, dominance: float = 2.0) -> FloatArray:
    """`V^ - V*`, positive where the search stops above the turning point."""
    paths = adversarial_worlds(rng, n, dominance=dominance)
    return (Search(K).choose(paths.x) - paths.turning).astype(np.float64)


def missed_edge(rng: np.random.Generator, n: int, dominance: float = 2.0) -> FloatArray:
    """`V^ - l_min` for tokens whose turning point lies outside the window (A4 fails)."""
    paths = adversarial_worlds(rng, n, dominance=dominance, l_min=LAYERS // 2)
    missed = Search(paths.K).choose(paths.x) - paths.l_min
    return np.where(paths.turning < paths.l_min, missed, 0).astype(np.float64)


def excess(rng: np.random.Generator, n: int) -> FloatArray:
    """`excess(V^)` in units of `eps_max`."""
    paths = adversarial_worlds(rng, n)
    return paths.excess(Search(K).choose(paths.x))


def excess_beyond_noise(rng: np.random.Generator, n: int, shift: int = 0) -> FloatArray:
    """`excess(V^) - (eps[V*] - eps[V^])`: what the theorem's first inequality says is <= 0."""
    paths = adversarial_worlds(rng, n)
    stop = Shifted(shift, K).choose(paths.x)
    return paths.excess(stop) - (at(paths.noise, paths.turning) - at(paths.noise, stop))


def overshoot(rng: np.random.Generator, n: int, weak_layers: int = 0) -> FloatArray:
    """`(V* - V^)` over T3's bound, for worlds whose drift is exactly `gamma` at every layer.

    `weak_layers` of them break the assumption: their drift is a tenth of `gamma`.
    """
    gamma = 10.0 ** rng.uniform(-0.8, 0.5, n)
    drift = np.repeat(gamma[:, None], LAYERS, axis=1)
    drift[:, LAYERS - weak_layers :] /= 10.0
    drift[:, 0] = 0.0
    G = -np.cumsum(drift, axis=1)
    turning = np.full(n, LAYERS - 1)
    paths = Paths.from_latent(G, worst_noise(G, turning, np.ones(LAYERS), 0), turning)
    steps = turning - Search(K).choose(paths.x)
    return steps / overshoot_bound(1.0, gamma)


def above_onset(rng: np.random.Generator, n: int, strong: bool = False) -> FloatArray:
    """`V^ - (V_onset - 1)` in T3's counterexample: <= 0 says that it stops below the onset.

    With `strong` drift the same noise no longer carries the scan past the onset.
    """
    values = np.empty(n)
    for i in range(n):
        steps = int(rng.integers(0, 5))
        gamma = 2.0 / (steps + 1) * rng.uniform(0.05, 0.95)
        paths, onset = lower_containment_counterexample(1.0, gamma, steps, int(rng.integers(1, 5)))
        x = paths.x
        if strong:
            x = x - np.cumsum(np.full(paths.layers, 2.0))
        values[i] = Search(paths.K).choose(x)[0] - (onset - 1)
    return values


def loss_to_final(rng: np.random.Generator, n: int) -> FloatArray:
    """`G[V^] - G[L]` in units of `eps_max`, any token at all."""
    paths = unstructured_worlds(rng, n)
    return at(paths.G, Search(K).choose(paths.x)) - paths.G[:, -1]


def tolerant_above(rng: np.random.Generator, n: int, rise_for_tau: bool = True) -> FloatArray:
    """`V^ - V*` for the tolerant search; without `rise_for_tau` rises exceed only `2 eps_max`."""
    tau = 0.5
    paths = adversarial_worlds(rng, n, tau=tau if rise_for_tau else 0.0, adversary_tau=tau)
    return (Tolerance(tau, K).choose(paths.x) - paths.turning).astype(np.float64)


def tolerant_excess(rng: np.random.Generator, n: int, too_many: int = 0) -> FloatArray:
    """Excess over T5's bound after `j >= 1` steps; `too_many` counts steps that were not taken."""
    tau = 0.3
    paths = adversarial_worlds(rng, n, tau=tau)
    stop = Tolerance(tau, K).choose(paths.x)
    steps = paths.turning - stop
    bound = tolerance_bound(1.0, tau, np.maximum(steps, 1) + too_many)
    return np.where(steps >= 1, paths.excess(stop) - bound, -1.0)


def tolerant_overshoot(
    rng: np.random.Generator, n: int, tau: float = 2.0 * (1 + JUST)
) -> FloatArray:
    """`V* - V^` with a tolerance that A2 cannot beat."""
    paths = adversarial_worlds(rng, n, tau=tau)
    return (paths.turning - Tolerance(tau, K).choose(paths.x)).astype(np.float64)


CLAIMS = (
    Claim(
        "T1.containment",
        "A2, A3, A4: the search never stops above V*",
        Relation.ALWAYS_AT_MOST,
        0.0,
        above_turning,
        Control("A3 weakened to delta > 1.8 eps_max", partial(above_turning, dominance=1.8)),
        attained=0.0,
        tex=r"A2, A3, A4: the search never stops above $V^*$",
    ),
    Claim(
        "T1.window",
        "A2, A3 without A4: the search stops at l_min",
        Relation.ALWAYS_AT_MOST,
        0.0,
        missed_edge,
        Control("A3 weakened to delta > 1.8 eps_max", partial(missed_edge, dominance=1.8)),
        attained=0.0,
        tex=r"A2, A3 without A4: the search stops at $l_{\min}$",
    ),
    Claim(
        "T2.excess",
        "A2, A3, A4: excess(V^) <= 2 eps_max",
        Relation.ALWAYS_AT_MOST,
        2.0 + ROUNDING,
        excess,
        Control("bound 10% too small", bound_factor=0.9),
        attained=1.98,
        tex=r"A2, A3, A4: $\operatorname{excess}(\hat V) \le 2\varepsilon_{\max}$",
    ),
    Claim(
        "T2.realised",
        "A2, A3, A4: excess(V^) <= eps[V*] - eps[V^]",
        Relation.ALWAYS_AT_MOST,
        ROUNDING,
        excess_beyond_noise,
        Control("rule one layer too deep", partial(excess_beyond_noise, shift=-1)),
        attained=0.0,
        tex=(
            r"A2, A3, A4: $\operatorname{excess}(\hat V) \le \varepsilon_{V^*} - "
            r"\varepsilon_{\hat V}$"
        ),
    ),
    Claim(
        "T3.overshoot",
        "drift >= gamma: V* - V^ < 2 eps_max / gamma",
        Relation.ALWAYS_BELOW,
        1.0,
        overshoot,
        Control("drift below gamma at half of the layers", partial(overshoot, weak_layers=4)),
        attained=0.98,
        tex=r"drift $\ge \gamma$: $V^* - \hat V < 2\varepsilon_{\max}/\gamma$",
    ),
    Claim(
        "T3.counterexample",
        "weak drift: the search can stop below the onset, against the paper's V^ >= V_onset",
        Relation.ALWAYS_AT_MOST,
        0.0,
        above_onset,
        Control("strong drift, where the paper's claim is true", partial(above_onset, strong=True)),
        draws=1 << 11,
        tex=(
            r"weak drift: the search can stop below the onset, against the paper's "
            r"$\hat V \ge V_{\mathrm{onset}}$"
        ),
    ),
    Claim(
        "T4.final",
        "A2 alone, any token: G[V^] <= G[L] + 2 eps_max",
        Relation.ALWAYS_AT_MOST,
        2.0 + ROUNDING,
        loss_to_final,
        Control("bound 10% too small", bound_factor=0.9),
        attained=1.98,
        tex=r"A2 alone, any token: $G_{\hat V} \le G_L + 2\varepsilon_{\max}$",
    ),
    Claim(
        "T5.containment",
        "delta > 2 eps_max + tau: the tolerant search never stops above V*",
        Relation.ALWAYS_AT_MOST,
        0.0,
        tolerant_above,
        Control("delta > 2 eps_max only", partial(tolerant_above, rise_for_tau=False)),
        attained=0.0,
        tex=(
            r"$\delta > 2\varepsilon_{\max} + \tau$: the tolerant search never "
            r"stops above $V^*$"
        ),
    ),
    Claim(
        "T5.excess",
        "after j >= 1 steps past V*: excess <= 2 eps_max - j tau",
        Relation.ALWAYS_AT_MOST,
        ROUNDING,
        tolerant_excess,
        Control("one step too many counted", partial(tolerant_excess, too_many=1)),
        attained=-0.02,
        tex=(
            r"after $j \ge 1$ steps past $V^*$: $\operatorname{excess} \le "
            r"2\varepsilon_{\max} - j\tau$"
        ),
    ),
    Claim(
        "T5.overshoot",
        "tau >= 2 eps_max never overshoots",
        Relation.ALWAYS_AT_MOST,
        0.0,
        tolerant_overshoot,
        Control("tau = 1.8 eps_max", partial(tolerant_overshoot, tau=1.8)),
        attained=0.0,
        tex=r"$\tau \ge 2\varepsilon_{\max}$ never overshoots",
    ),
)
