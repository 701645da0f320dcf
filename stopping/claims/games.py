"""Claims T6-T9: what a single trace proves, and the game between stopper and adversary."""

from dataclasses import dataclass

import numpy as np

from stopping.claims.claim import Claim, Control
from stopping.claims.deterministic import ROUNDING
from stopping.claims.worlds import JUST, LAYERS, adversarial_worlds, independent_worlds
from stopping.model.paths import Paths, at
from stopping.rules import Search
from stopping.simulation.montecarlo import Relation
from stopping.theory.certificates import certify
from stopping.theory.games import indistinguishable_worlds
from stopping.theory.guarded import guarded_search, hedge_probability, hedged_search
from stopping.theory.identification import identify
from stopping.theory.linear_programs import worst_excess
from stopping.types import FloatArray

ADMITTED = 1.0 + JUST
"""`eps_max = 1`, and room for the rounding of `x = G + eps` at its very ends."""
LP_LAYERS = 5
SOLVER = 1e-6
"""HiGHS meets constraints and optimality to 1e-7 each."""


def _excesses(paths: Paths) -> FloatArray:
    """`G[l] - G[V*]` of every layer, `(n, layers)`."""
    return paths.G - at(paths.G, paths.turning)[:, None]


def _paired_worlds(rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rises `d` from 0 to `2 eps_max`; `x` and the two worlds that explain it, for each."""
    rise = 2.0 * rng.random(n) ** 3 + JUST
    x, worlds = indistinguishable_worlds(1.0, 1.0, LAYERS)
    x, worlds = np.tile(x, (n, 1)), np.tile(worlds, (n, 1, 1))
    # The pair for d = 1 becomes that for d by moving the final layer.
    x[:, -1] += rise - 1.0
    worlds[:, :, -1] += (rise - 1.0)[:, None]
    return rise, x, worlds


def _losses(worlds: FloatArray) -> FloatArray:
    """Excess of every layer in both worlds, `(n, 2, layers)`: `V* = L`, then `V* = L - 1`."""
    return worlds - np.stack([worlds[:, 0, -1], worlds[:, 1, -2]], axis=1)[:, :, None]


@dataclass(frozen=True)
class DeterministicShortfall:
    """`2 eps_max - d` minus what a rule loses in the worse of the two worlds; never positive.

    `mixed` breaks the assumption: it randomises between the last two layers.
    """

    mixed: bool = False

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        rise, _, worlds = _paired_worlds(rng, n)
        layer = rng.integers(0, LAYERS, n)
        q = np.zeros((n, LAYERS))
        q[np.arange(n), layer] = 1.0
        if self.mixed:
            q[:] = 0.0
            q[:, -2:] = 0.5
        worst: FloatArray = np.einsum("nwl,nl->nw", _losses(worlds), q).max(axis=1)
        return 2.0 - rise - worst


@dataclass(frozen=True)
class MixtureShortfall:
    """`eps_max - d^2 / (4 eps_max)` minus a random rule's loss against the adversary's mixture."""

    even: bool = False

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        rise, _, worlds = _paired_worlds(rng, n)
        first = np.full(n, 0.5) if self.even else hedge_probability(rise, 1.0)
        mixture = np.stack([first, 1.0 - first], axis=1)
        q = rng.dirichlet(np.full(LAYERS, 0.2), n)
        loss: FloatArray = np.einsum("nw,nwl,nl->n", mixture, _losses(worlds), q)
        return 1.0 - rise**2 / 4.0 - loss


@dataclass(frozen=True)
class HedgedLoss:
    """Expected excess of the hedged search, in worlds of every shape and in the two worst ones.

    `constant` breaks the rule: it goes on with probability one half whatever the rise.
    """

    constant: bool = False

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        half = n // 2
        paths = adversarial_worlds(rng, half)
        _, x, worlds = _paired_worlds(rng, n - half)
        which = rng.integers(0, 2, n - half)
        observed = np.concatenate([paths.x, x])
        losses = np.concatenate([_excesses(paths), _losses(worlds)[np.arange(n - half), which]])
        q = hedged_search(observed, ADMITTED)
        if self.constant:
            q = np.where(q > 0, 0.5, 0.0) + np.where(q == 1.0, 0.5, 0.0)
        loss: FloatArray = (q * losses).sum(axis=1)
        return loss


@dataclass(frozen=True)
class GuardedAgainstSearch:
    """`excess(guarded) - excess(search)`: the guarded search never loses more."""

    guard: float = 1.0

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        paths = independent_worlds(rng, n)
        guarded = paths.excess(guarded_search(paths.x, self.guard))
        return guarded - paths.excess(Search(LAYERS - 1).choose(paths.x))


@dataclass(frozen=True)
class GuardedOvershoot:
    """`V* - V_g`: with `g = eps_max` the guarded search overshoots by at most one layer."""

    guard: float = 1.0

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        paths = adversarial_worlds(rng, n)
        return (paths.turning - guarded_search(paths.x, self.guard)).astype(np.float64)


@dataclass(frozen=True)
class BeyondCertificate:
    """Largest excess over its certificate, over all layers of a world that explains the token."""

    factor: float = 1.0

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        paths = adversarial_worlds(rng, n)
        certificate = certify(paths.x, ADMITTED)
        beyond: FloatArray = (_excesses(paths) - self.factor * certificate.excess).max(axis=1)
        return beyond


@dataclass(frozen=True)
class CertificateAgainstProgram:
    """`|c(l|x) - LP|` at a random layer; `level` is the noise that the closed form assumes."""

    level: float = 1.0

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        paths = adversarial_worlds(rng, n)
        x = paths.x[:, -LP_LAYERS:]
        # Only tokens whose turning point lies in the shorter window are explained there.
        keep = paths.turning >= LAYERS - LP_LAYERS
        x = np.where(keep[:, None], x, np.arange(LP_LAYERS, 0.0, -1.0))
        layer = rng.integers(0, LP_LAYERS, n)
        closed = at(certify(x, self.level * ADMITTED).excess, layer)
        weights = np.eye(LP_LAYERS)[layer]
        program = [worst_excess(q, token, ADMITTED) for q, token in zip(weights, x, strict=True)]
        gap: FloatArray = np.abs(closed - np.array(program))
        return gap


@dataclass(frozen=True)
class Unexplained:
    """Whether the true turning point is among those that explain the token at `level`."""

    level: float = ADMITTED

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        paths = adversarial_worlds(rng, n)
        consistent = identify(paths.x).consistent(self.level)
        return np.where(consistent[np.arange(n), paths.turning], 0.0, 1.0)


def explanations(rng: np.random.Generator, n: int) -> FloatArray:
    """How many turning points explain the token at the true noise level."""
    consistent = identify(adversarial_worlds(rng, n).x).consistent(ADMITTED)
    count: FloatArray = np.count_nonzero(consistent, axis=1).astype(np.float64)
    return count


def least_level(rng: np.random.Generator, n: int) -> FloatArray:
    """The least `eps_max` that explains the token, in units of the true one."""
    return identify(independent_worlds(rng, n).x).least_eps_max


CLAIMS = (
    Claim(
        "T6.lower",
        "no deterministic rule loses less than 2 eps_max - d in both of two worlds with one x",
        Relation.ALWAYS_AT_MOST,
        ROUNDING,
        DeterministicShortfall(),
        Control("a randomised rule", DeterministicShortfall(mixed=True)),
        attained=-ROUNDING,
        tex=(
            r"no deterministic rule loses less than $2\varepsilon_{\max} - d$ in "
            r"both of two worlds with one $x$"
        ),
    ),
    Claim(
        "T6.guarded",
        "the guarded search never loses more than the paper's search",
        Relation.ALWAYS_AT_MOST,
        ROUNDING,
        GuardedAgainstSearch(),
        Control("guard of 1.2 eps_max", GuardedAgainstSearch(1.2)),
        attained=0.0,
    ),
    Claim(
        "T6.overshoot",
        "the guarded search stops at V* or V* - 1",
        Relation.ALWAYS_AT_MOST,
        1.0,
        GuardedOvershoot(),
        Control("guard of 0.9 eps_max", GuardedOvershoot(0.9)),
        attained=1.0,
        tex=r"the guarded search stops at $V^*$ or $V^* - 1$",
    ),
    Claim(
        "T7.lower",
        "a mixture of two worlds makes every rule lose eps_max - d^2 / (4 eps_max)",
        Relation.ALWAYS_AT_MOST,
        ROUNDING,
        MixtureShortfall(),
        Control("an even mixture", MixtureShortfall(even=True)),
        attained=-0.02,
        tex=(
            r"a mixture of two worlds makes every rule lose $\varepsilon_{\max} - "
            r"d^2/(4\varepsilon_{\max})$"
        ),
    ),
    Claim(
        "T7.hedged",
        "the hedged search's expected excess is at most eps_max",
        Relation.ALWAYS_AT_MOST,
        1.0 + ROUNDING,
        HedgedLoss(),
        Control("a constant probability of one half", HedgedLoss(constant=True)),
        attained=0.99,
        tex=r"the hedged search's expected excess is at most $\varepsilon_{\max}$",
    ),
    Claim(
        "T8.certificate",
        "no admissible world loses more at any layer than its certificate",
        Relation.ALWAYS_AT_MOST,
        1e-7,
        BeyondCertificate(),
        Control("certificate 10% too small", BeyondCertificate(0.9)),
        attained=-0.02,
    ),
    Claim(
        "T8.program",
        "the closed form is the linear program's value",
        Relation.ALWAYS_AT_MOST,
        SOLVER,
        CertificateAgainstProgram(),
        Control("noise level 10% too large", CertificateAgainstProgram(1.1)),
        draws=200,
        block=50,
    ),
    Claim(
        "T9.explains",
        "at the true eps_max the true turning point explains the token",
        Relation.ALWAYS_AT_MOST,
        0.0,
        Unexplained(),
        Control("eps_max 10% too small", Unexplained(0.9)),
        attained=0.0,
        tex=(r"at the true $\varepsilon_{\max}$ the true turning point explains the " r"token"),
    ),
    Claim(
        "T9.least",
        "the least eps_max that explains a token never exceeds the true one",
        Relation.ALWAYS_AT_MOST,
        ADMITTED,
        least_level,
        Control("bound 10% too small", bound_factor=0.9),
        attained=0.99,
        tex=(
            r"the least $\varepsilon_{\max}$ that explains a token never exceeds " r"the true one"
        ),
    ),
    Claim(
        "T9.two",
        "at most two turning points explain a token at one eps_max",
        Relation.ALWAYS_AT_MOST,
        2.0,
        explanations,
        Control("at most one", bound_factor=0.5),
        attained=2.0,
        tex=r"at most two turning points explain a token at one $\varepsilon_{\max}$",
    ),
)
