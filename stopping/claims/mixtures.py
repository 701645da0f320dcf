"""Claims M1-M3: pools of two layers, and the certificate of how much of the final one to keep."""

import math
from dataclasses import dataclass

import numpy as np

from stopping.claims.claim import Claim, Control
from stopping.claims.deterministic import ROUNDING
from stopping.simulation.montecarlo import Relation
from stopping.support.betting import log_wealth
from stopping.theory.mixtures import pool_bound, pool_loss
from stopping.types import BoolArray, FloatArray

TOKENS = 5
PROMPTS, PER_PROMPT = 100, 8
SHARES = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
DELTA = 0.1
RATIOS = np.array([0.0, 0.8, 1.3])
"""What the chosen layer gives a prompt's tokens, over what the final one gives them."""
CHANCES = np.array([0.2, 0.5, 0.3])
MEANS = tuple(float(-CHANCES @ np.log(share + (1 - share) * RATIOS)) for share in SHARES)
"""Expected excess at each share, nats: the less is kept of the final layer, the more."""
LIMIT = 2
ALPHA = MEANS[LIMIT] - 1e-4
"""What shares before number `LIMIT` keep, and that one just does not."""


def _two_layers(rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Distributions of both layers `(n, TOKENS)`, and shares of the final one `(n, 1)`.

    A third have two equal layers, a third a chosen layer that gives one token next to nothing.
    """
    final, chosen = rng.dirichlet(np.full(TOKENS, 0.3), (2, n)) + 1e-9
    final /= final.sum(axis=1, keepdims=True)
    kind = np.arange(n) % 3
    chosen[kind == 0] = final[kind == 0]
    chosen[kind == 1, 0] = 1e-30
    chosen /= chosen.sum(axis=1, keepdims=True)
    return final, chosen, rng.uniform(0.01, 0.99, (n, 1))


@dataclass(frozen=True)
class PoolLoss:
    """Most that a pool loses beyond a bound of M1 or M2, over the tokens of two random layers.

    `linear` says which pool, `draw` which bound: the draw's mean loss, or `log(1 / share)` above
    the final layer's. `exchanged` gives the pool's shares to the other layers; `full` leaves the
    chosen layer of a log-linear pool its whole exponent.
    """

    linear: bool = True
    draw: bool = True
    exchanged: bool = False
    full: bool = False

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        p, q, share = _two_layers(rng, n)
        final, chosen = -np.log(p), -np.log(q)
        given = 1 - share if self.exchanged else share
        if self.linear:
            pooled = -np.logaddexp(np.log(given) - final, np.log1p(-given) - chosen)
        else:
            raw = given * final + (1.0 if self.full else 1 - given) * chosen
            pooled = raw + np.log(np.exp(-raw).sum(axis=1, keepdims=True))
        bound = share * final + (1 - share) * chosen if self.draw else final - np.log(share)
        beyond: FloatArray = (pooled - bound).max(axis=1)
        return beyond


def _wealthy(excess: FloatArray, share: float, alpha: float) -> BoolArray:
    """Whether a bet against a mean excess of `alpha` ever owns `1 / DELTA`; units first."""
    if pool_bound(share) <= alpha:  # by the bound alone
        return np.ones(excess.shape[1], np.bool_)
    most: FloatArray = log_wealth(excess, pool_bound(share), alpha).max(axis=0)
    return np.asarray(most >= math.log(1 / DELTA))


@dataclass(frozen=True)
class WrongBet:
    """Whether a share is accepted whose expected excess is `ALPHA` or more.

    `tokens` takes each of a prompt's tokens for a draw of its own.
    """

    tokens: bool = False

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        ratio = rng.choice(RATIOS, (PROMPTS, n), p=CHANCES)
        if self.tokens:
            ratio = ratio.repeat(PER_PROMPT, axis=0)
        share = SHARES[LIMIT]
        accepted = _wealthy(pool_loss(0.0, -_log(ratio), share), share, ALPHA)
        return accepted.astype(np.float64)


@dataclass(frozen=True)
class WrongCertificate:
    """Whether the last share of the list that is accepted has an expected excess above `ALPHA`.

    `naive` takes the last one whose mean over the prompts is at most that.
    """

    naive: bool = False

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        log_ratio = _log(rng.choice(RATIOS, (PROMPTS, n), p=CHANCES))
        going, wrong = np.ones(n, np.bool_), np.zeros(n, np.bool_)
        for share, mean in zip(SHARES, MEANS, strict=True):
            excess = pool_loss(0.0, -log_ratio, share)
            if self.naive:
                accepted = excess.mean(axis=0) <= ALPHA
            else:
                going &= _wealthy(excess, share, ALPHA)
                accepted = going
            wrong = np.where(accepted, mean > ALPHA, wrong)
        return wrong.astype(np.float64)


def _log(ratio: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        found: FloatArray = np.log(ratio)
    return found


CLAIMS = (
    Claim(
        "M1.final",
        "no token loses more than log(1 / share) against the final layer in a linear pool",
        Relation.ALWAYS_AT_MOST,
        ROUNDING,
        PoolLoss(draw=False),
        Control("the log-linear pool", PoolLoss(linear=False, draw=False)),
        attained=-ROUNDING,
        draws=1 << 16,
    ),
    Claim(
        "M1.draw",
        "no token loses more in a linear pool than the draw of the same weights on average",
        Relation.ALWAYS_AT_MOST,
        ROUNDING,
        PoolLoss(),
        Control("the shares exchanged", PoolLoss(exchanged=True)),
        attained=-ROUNDING,
        draws=1 << 16,
    ),
    Claim(
        "M2.draw",
        "no token loses more in a log-linear pool than the draw of the same weights on average",
        Relation.ALWAYS_AT_MOST,
        ROUNDING,
        PoolLoss(linear=False),
        Control("the chosen layer with its full weight", PoolLoss(linear=False, full=True)),
        attained=-ROUNDING,
        draws=1 << 16,
    ),
    Claim(
        "M3.bet",
        "a bet against a true mean excess ever owns 1 / delta with probability delta at most",
        Relation.MEAN_AT_MOST,
        DELTA,
        WrongBet(),
        Control("tokens of one prompt as independent draws", WrongBet(tokens=True)),
        draws=1 << 12,
        block=1 << 10,
    ),
    Claim(
        "M3.certificate",
        "the certified share has an expected excess above alpha with probability delta at most",
        Relation.MEAN_AT_MOST,
        DELTA,
        WrongCertificate(),
        Control("the least share whose mean looks small enough", WrongCertificate(naive=True)),
        draws=1 << 12,
        block=1 << 10,
    ),
)
