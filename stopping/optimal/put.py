"""The American put of Longstaff and Schwartz (2001) as a problem to simulate.

Under the risk-neutral measure the price is a geometric Brownian motion, seen at `dates` equally
spaced times after the start; the put may be exercised at each of them. A loss is minus the payoff
discounted to the start; a path that is out of the money is not eligible, as in the paper.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from stopping.optimal.classics import Put
from stopping.optimal.problem import AbstractProblem, View
from stopping.types import FloatArray


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


def european_put(put: Put, price: FloatArray, years: float) -> FloatArray:
    """Value of the put exercised in `years` and not before (Black and Scholes 1973)."""
    spread = put.volatility * math.sqrt(years)
    d = (np.log(price / put.strike) + (put.rate + put.volatility**2 / 2) * years) / spread
    value: FloatArray = put.strike * math.exp(-put.rate * years) * special.ndtr(
        spread - d
    ) - price * special.ndtr(-d)
    return value
