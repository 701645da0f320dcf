r"""T6 and T7: the stopper against the adversary, by linear programming and by proof.

The adversary picks a world `(V*, G, eps)` with A1-A4 on a window of `K + 1` layers; the stopper
sees `x = G + eps`, knows `eps_max`, and picks weights `q(x)` over layers. The loss is
`sum_l q[l] (G[l] - G[V*])`. A rule is a function of `x`, so the rule with the least worst case may
be found at each `x` apart, and the value of the game is the supremum over `x` of

    value(x) = min_q max_v sup_{G in C_v(x)} sum_l q[l] (G[l] - G[v]).                      (*)

**Theorem (T6).** With deterministic rules the value is `2 eps_max` for every `K >= 1`; the paper's
search attains it, without knowing `eps_max`, and so does the guarded search, which is never worse.

**Theorem (T7).** With randomised rules the value is `eps_max` for every `K >= 1`, attained by the
hedged search (`stopping.theory.guarded`). Neither supremum over `x` is attained.

*Upper bounds.* T2, and the theorems of `stopping.theory.guarded`.
*Lower bounds.* For `0 < d <= 2 eps_max` two worlds share one observation (see
`indistinguishable_worlds`): `x[L] - x[L-1] = d`, and either `V* = L`, where stopping at `L - 1`
costs `2 eps_max - d`, or `V* = L - 1`, where stopping at `L` costs `2 eps_max + d`; layers before
`L - 1` cost more still in both. A deterministic rule loses `2 eps_max - d` or more in one of them.
An adversary who takes the first with probability `1/2 + d / (4 eps_max)` makes every rule lose
`(4 eps_max^2 - d^2) / (4 eps_max) = eps_max - d^2 / (4 eps_max)` or more. Let `d` tend to 0.  QED

`solve_observation` computes (*) as a pair of linear programs that use none of these theorems but
T9: the stopper's, with the inner maximum replaced by its dual, and the adversary's, over mixtures
of worlds. Each strategy is then evaluated apart, and the gap between the loss the stopper allows
and the loss the adversary forces certifies both. All constraints are closed: see T8 on suprema.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from stopping.errors import UserError
from stopping.support.results import Report, Result
from stopping.theory.certificates import hedged_weights
from stopping.theory.identification import as_noise_levels
from stopping.theory.linear_programs import ScaledToken, constraints, solve, worst_excess
from stopping.types import FloatArray, IntArray


@dataclass(frozen=True)
class ObservationGame(Result):
    """The game (*) at one observed token, solved from both sides.

    Attributes
    ----------
    weights : ndarray, shape (layers,)
        The stopper's probabilities of stopping at each layer.
    turning_points : ndarray of int, shape (m,)
        Turning points of the adversary's worlds.
    mixture : ndarray, shape (m,)
        Their probabilities.
    worlds : ndarray, shape (m, layers)
        The `G` of each world.
    upper : float
        The most that `weights` can lose, in nats, by a linear program for each turning point.
    lower : float
        The least that any layer loses against the mixture, in nats.
    breach : float
        Largest violation of a constraint by one of the worlds, in nats; rounding.
    """

    weights: FloatArray
    turning_points: IntArray
    mixture: FloatArray
    worlds: FloatArray
    upper: float
    lower: float
    breach: float

    def items(self) -> Iterable[Any]:
        """Layers, each with the stopper's weight, and the adversary's worlds with its weights."""
        worlds = dict(zip(self.turning_points.tolist(), self.mixture, strict=True))
        for layer, weight in enumerate(self.weights):
            yield {"layer": layer, "stop": weight, "turning_point": worlds.get(layer, 0.0)}

    def report(self) -> Report:
        """The two mixtures, and the value between its two bounds."""
        yield from super().report()
        yield f"value between {self.lower:.6g} and {self.upper:.6g} nats"

    @property
    def gap(self) -> float:
        """Duality gap `upper - lower` in nats."""
        return self.upper - self.lower


@dataclass(frozen=True)
class WorstObservation:
    """The largest value of (*) that a search over observations found: a numerical finding.

    Attributes
    ----------
    x : ndarray, shape (layers,)
        The observation.
    game : ObservationGame
        Its solution by linear programming.
    tried : int
        How many observations the search evaluated.
    """

    x: FloatArray
    game: ObservationGame
    tried: int


def deterministic_value(eps_max: float) -> float:
    """T6: `inf sup excess = 2 eps_max` over deterministic rules, for every `K >= 1`."""
    return 2.0 * float(as_noise_levels(eps_max, 1)[0])


def randomised_value(eps_max: float) -> float:
    """T7: `inf sup E[excess] = eps_max` over randomised rules, for every `K >= 1`."""
    return float(as_noise_levels(eps_max, 1)[0])


def indistinguishable_worlds(
    rise: float, eps_max: float, layers: int = 2
) -> tuple[FloatArray, FloatArray]:
    """Two worlds with one observation: the lower bounds of T6 and T7.

    Parameters
    ----------
    rise : float
        The observed rise `d = x[L] - x[L-1]` in nats, `0 < d <= 2 eps_max`.
    eps_max : float
        Noise bound in nats.
    layers : int
        Layers of the window, two or more.

    Returns
    -------
    x : ndarray, shape (layers,)
        The observation.
    worlds : ndarray, shape (2, layers)
        `G` with `V* = L`, and `G` with `V* = L - 1`; both within `eps_max` of `x`.

    Raises
    ------
    UserError
        If the rise is outside `(0, 2 eps_max]` or there are fewer than two layers.
    """
    if not 0 < rise <= deterministic_value(eps_max):
        raise UserError(f"rise: needs 0 < rise <= 2 eps_max = {2 * eps_max}, got {rise}")
    if layers < 2:
        raise UserError(f"layers: the window needs two or more, got {layers}")
    x = np.full(layers, 2.0 * eps_max)
    x[-2:] = 0.0, rise
    unperturbed, perturbed = x.copy(), x.copy()
    unperturbed[-2:] += eps_max, -eps_max
    perturbed[-2:] += -eps_max, eps_max
    return x, np.stack([unperturbed, perturbed])


def solve_observation(x: ArrayLike, eps_max: float) -> ObservationGame:
    """Solve (*) for one token from both sides.

    Parameters
    ----------
    x : array_like, shape (layers,)
        Observed entropies on the window, in nats, final layer last; two layers or more.
    eps_max : float
        Noise bound of A2 in nats.

    Raises
    ------
    UserError
        If the input is malformed or no admissible world explains the token.
    """
    token = ScaledToken.of(x, eps_max)
    systems = [constraints(token.x, token.eps_max, int(v)) for v in token.turning_points]
    weights = _stopper(token, systems)
    share, product = _adversary(token, systems)
    # A world with no share cannot be told from its product with it, and plays no part.
    played = share > 1e-9
    mixture = share[played] / share[played].sum()
    worlds = product[played] / share[played, None]
    places = token.turning_points[played]
    excess = worlds - worlds[np.arange(len(worlds)), places][:, None]
    breach = max(
        float((D @ G - h).max())
        for G, v in zip(worlds, places, strict=True)
        for D, h in [constraints(token.x, token.eps_max, int(v))]
    )
    return ObservationGame(
        weights=weights,
        turning_points=places,
        mixture=mixture,
        worlds=worlds * token.unit + token.origin,
        upper=worst_excess(weights, x, eps_max),
        lower=float((mixture @ excess).min()) * token.unit,
        breach=max(0.0, breach) * token.unit,
    )


def search_worst_observation(
    layers: int, eps_max: float, rng: np.random.Generator, n: int = 20_000, rounds: int = 40
) -> WorstObservation:
    """Search for the observation with the largest randomised value.

    Random admissible worlds, then random steps of shrinking size around the best hundred. The
    closed form of T8 steers; the winner is solved by linear programming. By T7 the value stays
    below `eps_max` and comes near it: this is the check that would have refuted it.

    Parameters
    ----------
    layers : int
        Layers of the window, two or more.
    eps_max : float
        Noise bound in nats, above zero.
    rng : numpy.random.Generator
        Source of the search.
    n, rounds : int
        Worlds to begin with, and rounds of improvement.

    Raises
    ------
    UserError
        If `layers < 2`, `eps_max <= 0`, `n < 1` or `rounds < 0`.
    """
    if layers < 2 or n < 1 or rounds < 0 or randomised_value(eps_max) == 0:
        raise UserError("need layers >= 2, eps_max > 0, n >= 1 and rounds >= 0")
    turning = rng.integers(0, layers, (n, 1))
    size = eps_max * 10.0 ** rng.uniform(-4, 1, (n, 1)) * rng.exponential(size=(n, layers))
    steps = np.where(np.arange(layers) <= turning, -size, 2 * eps_max + size)
    x = np.cumsum(steps, axis=1) + eps_max * rng.uniform(-1, 1, (n, layers))
    value = np.nan_to_num(hedged_weights(x, eps_max).value, nan=-np.inf)
    best = np.argsort(value)[-100:]
    x, value = x[best], value[best]
    for step in eps_max * np.geomspace(1.0, 1e-4, rounds):
        near = x[:, None] + step * rng.normal(size=(len(x), 20, layers))
        near_value = hedged_weights(near.reshape(-1, layers), eps_max).value.reshape(-1, 20)
        near_value = np.nan_to_num(near_value, nan=-np.inf)
        pick, rows = near_value.argmax(axis=1), np.arange(len(x))
        better = near_value[rows, pick] > value
        x = np.where(better[:, None], near[rows, pick], x)
        value = np.where(better, near_value[rows, pick], value)
    winner = x[value.argmax()]
    return WorstObservation(winner, solve_observation(winner, eps_max), n + rounds * len(x) * 20)


def _stopper(token: ScaledToken, systems: list[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """Least `t` over `(q, t, y)` with `D_v' y_v = q - e_v`, `y_v >= 0`, `h_v . y_v <= t`.

    By duality `h_v . y_v` at its least is the maximum over `C_v` of `(q - e_v) . G`.
    """
    layers, m = len(token.x), len(systems)
    D = linalg.block_diag(*(D for D, _ in systems))
    h = linalg.block_diag(*(h for _, h in systems))
    duals = D.shape[0]
    cost = np.concatenate([np.zeros(layers), [1.0], np.zeros(duals)])
    at_most_t = np.hstack([np.zeros((m, layers)), -np.ones((m, 1)), h])
    inner = np.hstack([np.tile(-np.eye(layers), (m, 1)), np.zeros((m * layers, 1)), D.T])
    total = np.concatenate([np.ones(layers), np.zeros(1 + duals)])
    units = np.eye(layers)[token.turning_points]
    solution = solve(
        cost,
        at_most_t,
        np.zeros(m),
        np.vstack([inner, total]),
        np.append(-units.ravel(), 1.0),
        [(0, None)] * layers + [(None, None)] + [(0, None)] * duals,
    )
    q: FloatArray = np.maximum(solution[:layers], 0.0)
    q /= q.sum()
    return q


def _adversary(
    token: ScaledToken, systems: list[tuple[FloatArray, FloatArray]]
) -> tuple[FloatArray, FloatArray]:
    """Greatest `s` over `(share, s, Z)`, `Z_v = share_v G_v`, with every layer losing `s` or more.

    Returns the shares, shape (m,), and the products `Z`, shape (m, layers).
    """
    layers, m = len(token.x), len(systems)
    D = linalg.block_diag(*(D for D, _ in systems))
    h = linalg.block_diag(*(h[:, None] for _, h in systems))
    cost = np.concatenate([np.zeros(m), [-1.0], np.zeros(m * layers)])
    admissible = np.hstack([-h, np.zeros((len(D), 1)), D])
    units = np.eye(layers)[token.turning_points]
    loss = np.hstack([np.eye(layers) - np.outer(np.ones(layers), unit) for unit in units])
    forced = np.hstack([np.zeros((layers, m)), np.ones((layers, 1)), -loss])
    total = np.concatenate([np.ones(m), np.zeros(1 + m * layers)])
    solution = solve(
        cost,
        np.vstack([admissible, forced]),
        np.zeros(len(D) + layers),
        total[None],
        np.ones(1),
        [(0, None)] * m + [(None, None)] * (1 + m * layers),
    )
    return solution[:m], solution[m + 1 :].reshape(m, layers)
