"""T1-T5, T10, T11: one theorem, one pure function.

Deterministic results hold for every admissible noise; stochastic ones for independent
`sigma`-sub-Gaussian noise (A2s), T11 for i.i.d. continuous noise of any law. Entropies, noise and
losses are in nats. `excess(l) = G[l] - G[V*]`, `delta[l] = G[l] - G[l-1]` for `l > V*`.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from stopping.errors import UserError
from stopping.model.paths import Paths
from stopping.types import FloatArray


def as_non_negative(value: ArrayLike, what: str) -> FloatArray:
    """Return numbers as float64, all finite and `>= 0`, or say that `what` is not."""
    array = np.asarray(value, dtype=np.float64)
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise UserError(f"{what}: must be finite and >= 0, got {value!r}")
    return array


def as_positive(value: ArrayLike, what: str) -> FloatArray:
    """Return numbers as float64, all finite and `> 0`, or say that `what` is not."""
    array = as_non_negative(value, what)
    if not (array > 0).all():
        raise UserError(f"{what}: must be > 0, got {value!r}")
    return array


def containment_margin(delta: ArrayLike, eps_max: float, tau: float = 0.0) -> float:
    """T1 (and T5): `min delta - 2 eps_max - tau`; positive means `V^ <= V*` for every noise.

    *Proof.* For `l > V*`, `x[l] - x[l-1] = delta[l] + eps[l] - eps[l-1] >= delta[l] - 2 eps_max`,
    above `tau`: the scan never stops there. At or below zero, `containment_counterexample` shows a
    noise for which it does. An empty `delta` (an unperturbed token) gives infinity.
    """
    rises = np.asarray(delta, dtype=np.float64)
    as_non_negative(eps_max, "eps_max")
    as_non_negative(tau, "tau")
    return float(rises.min(initial=math.inf)) - 2.0 * eps_max - tau


def containment_counterexample(delta: float, eps_max: float) -> Paths:
    """T1 is sharp: a two-layer world with `V* = L - 1`, `delta <= 2 eps_max`, where `V^ = L`.

    `eps[L] = -eps_max` and `eps[L-1] = +eps_max` hide the rise.

    Raises
    ------
    UserError
        If `delta > 2 eps_max`: then T1 holds and there is no counterexample.
    """
    as_non_negative(eps_max, "eps_max")
    as_positive(delta, "delta")
    if delta > 2 * eps_max:
        raise UserError(f"delta = {delta} dominates 2 eps_max = {2 * eps_max}: containment holds")
    latent = np.array([[0.0, delta]])
    noise = np.array([[eps_max, -eps_max]])
    return Paths.from_latent(latent, noise, np.array([0]))


def excess_bound(eps_max: ArrayLike) -> FloatArray:
    """T2: `excess(V^) <= eps[V*] - eps[V^] <= 2 eps_max`, under A2-A4; tight.

    *Proof.* By T1 the scan passes `V*`, and from there it goes down strictly, so
    `x[V^] <= x[V*]`; write `x = G + eps`. No monotonicity is used.
    """
    return 2.0 * as_non_negative(eps_max, "eps_max")


def overshoot_bound(eps_max: ArrayLike, gamma: ArrayLike) -> FloatArray:
    """T3: `V* - V^ < 2 eps_max / gamma` layers, with drift at least `gamma` per layer.

    *Proof.* `(V* - V^) gamma <= excess(V^)`, which T2 bounds, strictly when `V^ < V*`.
    """
    return excess_bound(eps_max) / as_positive(gamma, "gamma")


def lower_containment_counterexample(
    eps_max: float = 0.25, gamma: float = 0.05, steps: int = 4, onset: int = 4
) -> tuple[Paths, int]:
    """T3: a world where the search stops below the onset of the valley, as the paper excludes.

    `G` falls by `4 eps_max` per layer up to `V_onset`, then by the weak drift `gamma` per layer up
    to `V* = L` while the noise rises by just more than `gamma`: the scan reads a strict fall all
    the way back to `V_onset`, and past it.

    Returns
    -------
    paths : Paths
        One token, whose window starts at column 0.
    onset : int
        Column of `V_onset`, with `V^ < V_onset`.

    Raises
    ------
    UserError
        If `2 eps_max <= gamma (steps + 1)`: then T3 forbids passing the onset by a weak step.
    """
    as_positive(eps_max, "eps_max")
    as_positive(gamma, "gamma")
    if steps < 0 or onset < 1:
        raise UserError(f"need steps >= 0 and onset >= 1, got {steps} and {onset}")
    if 2 * eps_max <= gamma * (steps + 1):
        raise UserError("need 2 eps_max > gamma (steps + 1): T3 forbids the overshoot otherwise")
    # The layer before the onset is still close to it (weak drift); those before fall steeply.
    fall = np.full(onset + steps, gamma)
    fall[: onset - 1] = 4 * eps_max
    G = np.concatenate([[0.0], -np.cumsum(fall)])
    noise = np.full(len(G), eps_max)
    noise[onset - 1 :] = np.linspace(-eps_max, eps_max, steps + 2)
    G -= G.min()
    return Paths.from_latent(G[None], noise[None], np.array([len(G) - 1])), onset


def final_layer_bound(eps_max: ArrayLike) -> FloatArray:
    """T4: `G[V^] <= G[L] + 2 eps_max` under A2 alone, for any token at all.

    *Proof.* `x[V^] <= x[L]`, since the scan only ever steps to a lower value.
    """
    return 2.0 * as_non_negative(eps_max, "eps_max")


def tolerance_bound(eps_max: ArrayLike, tau: ArrayLike, steps: ArrayLike) -> FloatArray:
    """T5: excess after `steps >= 1` steps past `V*` with tolerance `tau`: `2 eps_max - steps tau`.

    A negative bound means that so many steps are impossible: `tau >= 2 eps_max` never overshoots.
    """
    j = np.asarray(steps, dtype=np.float64)
    if (j < 1).any():
        raise UserError(f"steps: the bound is for at least one step past V*, got {steps!r}")
    return 2.0 * as_non_negative(eps_max, "eps_max") - j * as_non_negative(tau, "tau")


def stop_above_bound(delta: ArrayLike, sigma: float) -> float:
    """T10: `P(V^ > V*) <= sum over l > V* of exp(-delta[l]^2 / (4 sigma^2))`, at most 1; needs A4.

    *Proof.* Stopping at `l > V*` needs `eps[l-1] - eps[l] >= delta[l]`, a difference of
    independent `sigma`-sub-Gaussians; Chernoff and a union bound.
    """
    rises = as_positive(delta, "delta")
    scale = float(as_positive(sigma, "sigma"))
    return min(1.0, float(np.exp(-((rises / (2 * scale)) ** 2)).sum()))


def excess_tail_bound(t: ArrayLike, sigma: float) -> FloatArray:
    """T10: `P(excess(V^) > t, V^ <= V*) <= exp(-t^2 / (4 sigma^2))`.

    *Proof.* To end with a loss above `t` the scan must pass the first layer below `V*` whose
    excess is above `t`, and there read less than at `V*`: one comparison.
    """
    loss = as_non_negative(t, "t")
    return np.exp(-((loss / (2 * float(as_positive(sigma, "sigma")))) ** 2))


def expected_excess_bound(sigma: ArrayLike) -> FloatArray:
    """T10: `E[excess(V^); V^ <= V*] <= sigma sqrt(pi)`, the integral of the tail bound.

    For i.i.d. noise `stopping.theory.averages` proves a bound that is `pi` times smaller for normal
    noise, `E (eps - eps')+`, and finds the largest value itself.
    """
    return math.sqrt(math.pi) * as_non_negative(sigma, "sigma")


def run_bound(j: ArrayLike) -> FloatArray:
    """T11: `P(V* - V^ >= j, V^ <= V*) <= 1 / (j+1)!`, with equality for flat `G` and `V* = L`.

    *Proof.* With `G` non-increasing, overshooting by `j` forces `eps` to rise strictly over
    `j + 1` consecutive layers; the noise is exchangeable without ties.
    """
    steps = np.asarray(j, dtype=np.float64)
    if (steps < 0).any() or (steps != np.floor(steps)).any():
        raise UserError(f"j: must be whole numbers >= 0, got {j!r}")
    bound: FloatArray = 1.0 / special.factorial(steps + 1.0)
    return bound


def expected_overshoot_bound() -> float:
    """T11: `E[(V* - V^)+] <= e - 2`: fewer than 0.7183 layers, whatever the noise's law."""
    return math.e - 2.0


def rounded_valley_bound(eps_max: ArrayLike, weak: ArrayLike) -> FloatArray:
    """T16: `excess(V^) <= 2 eps_max max(1, m)` if only the first `m` late rises are weak.

    The rises `delta` at `V* + 1, ..., V* + m` are at most `2 eps_max` (a valley with a rounded
    floor, where A3 fails), those beyond dominate; A2 and A4 hold. *Proof.* The search passes every
    layer above `V* + m` (T1). If it stops at `V* + k`, `1 <= k <= m`, its excess is the sum of `k`
    weak rises; at `V*` or below, T2's proof applies. `rounded_valley_counterexample` attains it.

    Parameters
    ----------
    eps_max : array_like
        Noise bound, nats.
    weak : array_like
        `m`, whole numbers.

    Raises
    ------
    UserError
        If `eps_max` is negative or not finite, or `m` is no whole number `>= 0`.
    """
    m = as_non_negative(weak, "weak")
    if (m != np.floor(m)).any():
        raise UserError(f"weak: must be whole numbers >= 0, got {weak!r}")
    return excess_bound(eps_max) * np.maximum(m, 1.0)


def rounded_valley_counterexample(eps_max: float, weak: int) -> Paths:
    """T16 is attained: `m = weak >= 1` rises of `2 eps_max`, and noise that stops the search there.

    `V*` is column 1, and one dominant rise leads to `L`.
    """
    as_positive(eps_max, "eps_max")
    if weak < 1:
        raise UserError(f"weak: needs at least one weak rise, got {weak}")
    steps = np.concatenate([[0.0, -eps_max], np.full(weak, 2.0 * eps_max), [3.0 * eps_max]])
    noise = np.zeros(len(steps))
    noise[weak], noise[weak + 1] = eps_max, -eps_max
    return Paths.from_latent(np.cumsum(steps)[None], noise[None], np.array([1]))
