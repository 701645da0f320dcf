"""American puts, whose values are known: what the induction and the regression are tried on.

The put on a binomial tree is that of Cox, Ross and Rubinstein (1979), the perpetual one has a
closed form (McKean 1965), and `PutProblem` is that of Longstaff and Schwartz (2001), to simulate.
Under the risk-neutral measure the price is a geometric Brownian motion, seen at `dates` equally
spaced times after the start; the put may be exercised at each of them. A loss is minus the payoff
discounted to the start; a path that is out of the money is not eligible, as in the paper.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse, special

from stopping.errors import UserError
from stopping.optimal.chain import Chain
from stopping.optimal.problem import AbstractProblem, View
from stopping.types import FloatArray


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


def european_put(put: Put, price: FloatArray, years: float) -> FloatArray:
    """Value of the put exercised in `years` and not before (Black and Scholes 1973)."""
    spread = put.volatility * math.sqrt(years)
    d = (np.log(price / put.strike) + (put.rate + put.volatility**2 / 2) * years) / spread
    value: FloatArray = put.strike * math.exp(-put.rate * years) * special.ndtr(
        spread - d
    ) - price * special.ndtr(-d)
    return value


@dataclass(frozen=True)
class PutProblem(AbstractProblem):
    """`put` with `dates` exercise dates; time 0 is the start, at which it may be exercised too.

    With `european` the regression starts from the value of the put that is exercised at the end
    only (Black and Scholes 1973), which tightens the dual bound; without it, from nothing, as in
    the paper.
    """

    put: Put
    dates: int = 50
    european: bool = False

    @property
    def horizon(self) -> int:
        """Number of dates."""
        return self.dates

    @property
    def _step(self) -> float:
        return self.put.years / self.dates

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Prices, `(n, dates + 1)`."""
        start = np.full((n, 1), self.put.spot)
        steps = np.cumsum(self._log_step(rng.standard_normal((n, self.dates))), axis=1)
        return np.concatenate([start, self.put.spot * np.exp(steps)], axis=1)

    def extend(self, uniform: FloatArray, history: FloatArray) -> FloatArray:
        """One step on from the last price."""
        price: FloatArray = history[:, -1] * np.exp(self._log_step(special.ndtri(uniform)))
        return price

    def look(self, history: FloatArray) -> View:
        """The price is the state."""
        price, t = history[:, -1], history.shape[1] - 1
        payoff = self.put.payoff(price)
        discount = math.exp(-self.put.rate * self._step * t)
        anchor = np.zeros(len(price))
        if self.european and t < self.dates:
            left = self.put.years - self._step * t
            anchor = -discount * european_put(self.put, price, left)
        return View(-discount * payoff, price[:, None], payoff > 0, anchor)

    def _log_step(self, normal: FloatArray) -> FloatArray:
        drift = self.put.rate - self.put.volatility**2 / 2
        return drift * self._step + self.put.volatility * math.sqrt(self._step) * normal
