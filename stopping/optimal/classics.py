"""Stopping problems whose answers are known: what the induction is tried on.

- The **secretary problem**: `n` candidates in random order, only relative ranks are seen, stop on
  the best of all. The loss is the probability of having missed it. Optimal: let `r - 1` pass, then
  take the first that is the best so far; `r / n -> 1/e` (Gilbert and Mosteller 1966).
- **Moser's problem**: `n` independent uniform offers, one is kept, no recall. With losses, the
  least expected loss of `n` offers is `v[n] = v[n-1] - v[n-1]**2 / 2`, `v[1] = 1/2` (Moser 1956).
- The **American put** on a binomial tree (Cox, Ross and Rubinstein 1979), and the closed form of
  the perpetual one (McKean 1965). Losses are minus the discounted payoffs.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from stopping.errors import UserError
from stopping.optimal.chain import Chain
from stopping.types import FloatArray


def secretary(n: int) -> Chain:
    """The secretary problem with `n` candidates; state 1: the present one is the best so far.

    Relative ranks are independent, so the chain forgets: candidate `k` is the best so far with
    probability `1/k`, and then the best of all with probability `k/n`. At the end one must stop,
    candidate or not.
    """
    if n < 1:
        raise UserError(f"secretary: needs a candidate at least, got {n}")
    kernels = tuple(np.tile([1 - 1 / k, 1 / k], (2, 1)) for k in range(2, n + 1))
    losses = tuple(np.array([1.0, 1.0 - k / n]) for k in range(1, n + 1))
    return Chain(np.array([0.0, 1.0]), kernels, losses)


def secretary_success(n: int, r: int) -> float:
    """Chance to get the best of `n` by letting `r - 1` pass: `(r-1)/n sum 1/(k-1)`, `1/n` at 1."""
    if not 1 <= r <= n:
        raise UserError(f"secretary: r must lie in [1, {n}], got {r}")
    if r == 1:
        return 1.0 / n
    return (r - 1) / n * math.fsum(1.0 / (k - 1) for k in range(r, n + 1))


def moser(n: int, points: int) -> Chain:
    """Moser's problem with `n` offers, uniform on the midpoints of `points` cells of [0, 1]."""
    offers = (np.arange(points) + 0.5) / points
    law = np.full(points, 1.0 / points)
    return Chain(law, (np.tile(law, (points, 1)),) * (n - 1), (offers,) * n)


def moser_value(n: int) -> float:
    """Least expected loss of Moser's problem with `n` continuous uniform offers."""
    value = 0.5
    for _ in range(n - 1):
        value -= value**2 / 2
    return value


@dataclass(frozen=True)
class Put:
    """An American put: spot, strike, rate and volatility per year, years to expiry."""

    spot: float
    strike: float = 40.0
    rate: float = 0.06
    volatility: float = 0.2
    years: float = 1.0

    def __post_init__(self) -> None:
        values = (self.spot, self.strike, self.volatility, self.years)
        if not (all(math.isfinite(v) and v > 0 for v in values) and math.isfinite(self.rate)):
            raise UserError(f"put: spot, strike, volatility and years must be > 0, got {self}")

    def payoff(self, price: FloatArray) -> FloatArray:
        """`(strike - price)+`."""
        return np.maximum(self.strike - price, 0.0)


def binomial_put(put: Put, dates: int, steps_per_date: int = 1) -> Chain:
    """The put on a Cox-Ross-Rubinstein tree of `dates * steps_per_date` steps.

    It may be exercised at the `dates` and at the start. `steps_per_date = 1` is the American put as
    a tree knows it; with more steps the chain approaches the put of so many dates (a Bermudan one).
    """
    if dates < 1 or steps_per_date < 1:
        raise UserError(f"put: dates and steps must be >= 1, got {dates}, {steps_per_date}")
    step = put.years / (dates * steps_per_date)
    up = math.exp(put.volatility * math.sqrt(step))
    rise = (math.exp(put.rate * step) - 1 / up) / (up - 1 / up)
    if not 0 < rise < 1:
        raise UserError("put: the tree is too coarse for this rate and volatility; take more steps")
    losses, kernels = [], []
    for t in range(dates * steps_per_date + 1):
        price: FloatArray = put.spot * np.exp(math.log(up) * (2.0 * np.arange(t + 1) - t))
        exercised = -math.exp(-put.rate * t * step) * put.payoff(price)
        losses.append(exercised if t % steps_per_date == 0 else np.full(t + 1, np.inf))
        if t < dates * steps_per_date:
            kernels.append(_down_or_up(t + 1, rise))
    return Chain(np.ones(1), tuple(kernels), tuple(losses))


def perpetual_put(put: Put) -> float:
    """Value of the put without expiry: exercised below `K b / (1 + b)`, `b = 2 r / sigma^2`."""
    b = 2 * put.rate / put.volatility**2
    edge = put.strike * b / (1 + b)
    if put.spot <= edge:
        return put.strike - put.spot
    return float((put.strike - edge) * (put.spot / edge) ** -b)


def _down_or_up(states: int, up: float) -> sparse.csr_array:
    """From state `i` to `i` or `i + 1`."""
    here = np.arange(states)
    weights = np.repeat([1 - up, up], states)
    return sparse.csr_array(
        (weights, (np.tile(here, 2), np.concatenate([here, here + 1]))), shape=(states, states + 1)
    )
