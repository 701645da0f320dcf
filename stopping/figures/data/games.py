"""T6 to T8 in numbers: the price of not knowing, by rise, mixing probability, and for one token."""

from dataclasses import dataclass

import numpy as np

from stopping.errors import UserError
from stopping.model.noise import UniformNoise
from stopping.model.process import Process
from stopping.rules import Search
from stopping.theory.certificates import certify, hedged_weights
from stopping.theory.games import (
    deterministic_value,
    indistinguishable_worlds,
    randomised_value,
    solve_observation,
)
from stopping.theory.guarded import guarded_search
from stopping.theory.mixing import best_mixing_probability, mixing_worst_case
from stopping.types import FloatArray

RISES = np.linspace(0.01, 2.4, 240)
PROGRAMMED = np.array([0.05, 0.5, 1.0, 1.5, 1.95])
WINDOWS = (1, 3)
MIXINGS: tuple[tuple[int, float], ...] = ((1, 4.0), (2, 4.0), (1, 12.0), (2, 12.0))
"""Windows `K` and caps on the tax, in units of `eps_max`."""


@dataclass(frozen=True, eq=False)
class ValueCurve:
    """T6, T7: the least worst-case excess when the final layer is seen to rise by `d`.

    Attributes
    ----------
    rise : ndarray, shape (m,)
        `d = x[L] - x[L-1]` in units of `eps_max`.
    deterministic, randomised : ndarray, shape (m,)
        The value over deterministic and over randomised rules, in units of `eps_max` (T8).
    programmed : ndarray, shape (k,)
        Rises at which the linear programs were solved as well.
    windows : tuple of int
        `K` of each row of `programs`.
    programs : ndarray, shape (windows, k)
        Their value.
    gap : float
        Their largest duality gap.
    deterministic_limit, randomised_limit : float
        The suprema over all observations, `2 eps_max` and `eps_max`.
    """

    rise: FloatArray
    deterministic: FloatArray
    randomised: FloatArray
    programmed: FloatArray
    windows: tuple[int, ...]
    programs: FloatArray
    gap: float
    deterministic_limit: float
    randomised_limit: float


@dataclass(frozen=True, eq=False)
class MixingSeries:
    """The worst case over `p` for one window and one cap on the tax."""

    K: int
    tax_max: float
    worst: FloatArray
    best: float


@dataclass(frozen=True, eq=False)
class MixingCurve:
    """What the paper's mixing probability `p` is worth in the worst case, in units of `eps_max`.

    Attributes
    ----------
    p : ndarray, shape (m,)
    series : tuple of MixingSeries
    search, hedged : float
        The value of the search (`p = 1`) and of the hedged search, for every window and cap.
    """

    p: FloatArray
    series: tuple[MixingSeries, ...]
    search: float
    hedged: float


@dataclass(frozen=True, eq=False)
class TokenCertificate:
    """One token with what its trace proves (T8); arrays have shape (layers,).

    Attributes
    ----------
    x, latent : ndarray
        What is read and the `G` behind it, in units of `eps_max`.
    excess, certificate : ndarray
        What stopping at each layer costs, and what the trace proves that it costs at most.
    turning, search, guarded : int
        Columns of `V*` and of the two rules' choices.
    eps_max : float
    """

    x: FloatArray
    latent: FloatArray
    excess: FloatArray
    certificate: FloatArray
    turning: int
    search: int
    guarded: int
    eps_max: float


def value_curve() -> ValueCurve:
    """Compute the game's value at each observed rise, in closed form and by linear programming."""
    x = np.stack([np.zeros_like(RISES), RISES], axis=1)
    games = [
        [solve_observation(indistinguishable_worlds(d, 1.0, K + 1)[0], 1.0) for d in PROGRAMMED]
        for K in WINDOWS
    ]
    return ValueCurve(
        rise=RISES,
        deterministic=certify(x, 1.0).excess.min(axis=1),
        randomised=hedged_weights(x, 1.0).value,
        programmed=PROGRAMMED,
        windows=WINDOWS,
        programs=np.array([[game.upper for game in row] for row in games]),
        gap=max(abs(game.gap) for row in games for game in row),
        deterministic_limit=deterministic_value(1.0),
        randomised_limit=randomised_value(1.0),
    )


def mixing_curve(points: int = 101) -> MixingCurve:
    """Compute the worst case of a constant `p`, for each window and cap on the tax."""
    if points < 2:
        raise UserError(f"points: a curve needs two or more, got {points}")
    p = np.linspace(0.0, 1.0, points)
    return MixingCurve(
        p=p,
        series=tuple(
            MixingSeries(
                K, tax, mixing_worst_case(p, 1.0, K, tax), best_mixing_probability(1.0, K, tax)
            )
            for K, tax in MIXINGS
        ),
        search=deterministic_value(1.0),
        hedged=randomised_value(1.0),
    )


def token_certificate(rng: np.random.Generator, n: int = 20_000) -> TokenCertificate:
    """Draw tokens and keep one where the guard matters: the search overshoots by three layers.

    Raises
    ------
    UserError
        If none of the `n` tokens is such; draw more.
    """
    layers = 12
    world = Process(
        layers,
        UniformNoise(1.0),
        K=layers - 1,
        drift=0.3,
        rise=2.2,
        perturbed=1.0,
        onset=tuple(float(layer == layers - 4) for layer in range(layers - 1)),
    )
    paths = world.sample(rng, n)
    search = Search(layers - 1).choose(paths.x)
    guarded = guarded_search(paths.x, 1.0)
    telling = np.flatnonzero((paths.turning - search >= 3) & (paths.turning - guarded == 1))
    if len(telling) == 0:
        raise UserError(f"none of {n} tokens overshoots by three layers; draw more")
    token = int(telling[0])
    G, turning = paths.G[token], int(paths.turning[token])
    return TokenCertificate(
        x=paths.x[token],
        latent=G,
        excess=G - G[turning],
        certificate=certify(paths.x[token : token + 1], 1.0).excess[0],
        turning=turning,
        search=int(search[token]),
        guarded=int(guarded[token]),
        eps_max=1.0,
    )
