"""Hard stopping problems of which others have published brackets: what S2 is measured on.

- The **Bermudan max-call**: the best of `d` independent stocks may be bought at a fixed price, at
  ten dates (Broadie and Glasserman 2004; Becker, Cheridito and Jentzen 2019, table 1).
- **Fractional Brownian motion**, stopped where it stands highest (Becker, Cheridito and Jentzen
  2019, table 3): no Markov chain, unless the whole past is its state.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import toeplitz
from scipy.special import ndtr

from stopping.errors import UserError
from stopping.optimal.problem import AbstractGaussianProblem, View
from stopping.types import FloatArray

MAX_CALL: dict[tuple[int, int], tuple[float, float]] = {
    **{(2, 90): (8.060, 8.081), (2, 100): (13.880, 13.910), (2, 110): (21.336, 21.354)},
    **{(3, 90): (11.276, 11.290), (3, 100): (18.673, 18.699), (3, 110): (27.545, 27.591)},
    **{(5, 90): (16.633, 16.648), (5, 100): (26.138, 26.174), (5, 110): (36.745, 36.789)},
    **{(10, 100): (38.321, 38.353), (20, 100): (51.571, 51.765), (50, 100): (69.582, 69.889)},
}
"""Published 95 % intervals by number of stocks and their price at the start."""

FRACTIONAL: dict[float, float] = {0.1: 1.049, 0.3: 0.370, 0.5: 0.002, 0.7: 0.207, 0.9: 0.337}
"""Published values by Hurst exponent, 100 dates in [0, 1]."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_WIDTH = 5.5
"""Standard deviations beyond which a normal distribution is neglected, in the European value."""


@dataclass(frozen=True)
class MaxCall(AbstractGaussianProblem):
    """Bermudan call on the best of `stocks`; losses are minus its discounted payoff."""

    stocks: int
    spot: float = 100.0
    strike: float = 100.0
    rate: float = 0.05
    dividend: float = 0.10
    volatility: float = 0.2
    years: float = 3.0
    dates: int = 9

    def __post_init__(self) -> None:
        if not (self.stocks >= 1 and self.dates >= 1):
            raise UserError(f"max-call: needs a stock and a date at least, got {self}")
        positive = (self.spot, self.strike, self.volatility, self.years)
        if not all(math.isfinite(value) and value > 0 for value in positive):
            raise UserError(f"max-call: prices, volatility and years must be > 0, got {self}")

    @property
    def horizon(self) -> int:
        """Last date."""
        return self.dates

    @property
    def dimension(self) -> int:
        """One normal number for each stock."""
        return self.stocks

    @property
    def _drift(self) -> float:
        return self.rate - self.dividend - self.volatility**2 / 2

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Logarithms of the prices, shape (n, dates + 1, stocks)."""
        x = np.empty((n, self.dates + 1, self.stocks))
        x[:, 0] = math.log(self.spot)
        for t in range(self.dates):
            x[:, t + 1] = self.step(x[:, : t + 1], rng.standard_normal((n, self.stocks)))
        return x

    def step(self, history: FloatArray, normal: FloatArray) -> FloatArray:
        """Geometric Brownian motion."""
        step = self.years / self.dates
        moved = self._drift * step + self.volatility * math.sqrt(step) * normal
        following: FloatArray = history[:, -1] + moved.reshape(history[:, -1].shape)
        return following

    def innovation(self, history: FloatArray) -> FloatArray:
        """Normal numbers of the last step, that of the stock that stood highest first."""
        step = self.years / self.dates
        before, moved = history[:, -2], history[:, -1] - history[:, -2]
        order = np.argsort(-before, axis=1, kind="stable")
        normal: FloatArray = (moved - self._drift * step) / (self.volatility * math.sqrt(step))
        return np.take_along_axis(normal, order, axis=1)

    def look(self, history: FloatArray) -> View:
        """Payoff, European values at the next and at the last date, and the highest stocks.

        What a polynomial cannot follow, the kinks of the maximum, the European values know.
        """
        t = history.shape[1] - 1
        x = -np.sort(-history[:, -1], axis=1)
        step = self.years / self.dates
        discount = math.exp(-self.rate * step * t)
        payoff = np.maximum(np.exp(x[:, 0]) - self.strike, 0.0)
        if t == self.dates:
            none = np.zeros(len(x))
            return View(-discount * payoff, none[:, None], payoff > 0, none)
        soon = self.european(x, step)
        last = self.european(x, step * (self.dates - t))
        best = np.maximum(soon, last)
        rest = [x[:, 5:].mean(axis=1)] if self.stocks > 5 else []
        features = np.column_stack([soon, last, x[:, :5], *rest])
        return View(-discount * payoff, features, payoff > 0, -discount * best)

    def european(self, x: FloatArray, years: float) -> FloatArray:
        """Value of the call if it can be exercised in `years` only, from log-prices `(n, stocks)`.

        The integral over prices above the strike of `1 - prod_i P(S_i <= s)`.
        """
        mean, spread = x + self._drift * years, self.volatility * math.sqrt(years)
        highest, strike = mean.max(axis=1), math.log(self.strike)
        low = np.maximum(strike, highest - _WIDTH * spread)
        half = np.maximum(highest + _WIDTH * spread - low, 0.0) / 2
        value = np.exp(low) - self.strike
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            level = low + half * (node + 1)
            below = ndtr((level[:, None] - mean) / spread).prod(axis=1)
            value += weight * half * np.exp(level) * (1 - below)
        discounted: FloatArray = math.exp(-self.rate * years) * value
        return discounted


@dataclass(frozen=True)
class Fractional(AbstractGaussianProblem):
    """Fractional Brownian motion from 0 at `dates` equal steps in [0, 1]; the reward is its value.

    Attributes
    ----------
    hurst : float
    dates : int
    lags : int
        Of the latest increments, how many a regression sees one by one.
    """

    hurst: float
    dates: int = 100
    lags: int = 8

    def __post_init__(self) -> None:
        if not (0 < self.hurst < 1 and self.dates >= 1 and self.lags >= 1):
            raise UserError(f"fractional Brownian motion: got {self}")

    @property
    def horizon(self) -> int:
        """Last date."""
        return self.dates

    @cached_property
    def _factor(self) -> FloatArray:
        """Cholesky factor of the covariance of the increments."""
        k = np.arange(self.dates)
        power = 2 * self.hurst
        covariance = (np.abs(k - 1.0) ** power - 2.0 * k**power + (k + 1.0) ** power) / 2
        covariances: FloatArray = toeplitz(covariance)
        factor: FloatArray = np.asarray(np.linalg.cholesky(covariances), dtype=np.float64)
        scaled: FloatArray = factor / float(self.dates) ** self.hurst
        return scaled

    @cached_property
    def _whitening(self) -> FloatArray:
        whitening: FloatArray = np.asarray(np.linalg.inv(self._factor), dtype=np.float64)
        return whitening

    @cached_property
    def _outlook(self) -> tuple[FloatArray, ...]:
        """For each `t`, the map from the past's normal numbers to the mean path ahead."""
        return tuple(np.cumsum(self._factor[t:, :t], axis=0) for t in range(self.dates))

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Paths, shape (n, dates + 1)."""
        increments = rng.standard_normal((n, self.dates)) @ self._factor.T
        return np.column_stack([np.zeros(n), np.cumsum(increments, axis=1)])

    def _normals(self, history: FloatArray) -> FloatArray:
        t = history.shape[1] - 1
        whitened: FloatArray = np.diff(history, axis=1) @ self._whitening[:t, :t].T
        return whitened

    def step(self, history: FloatArray, normal: FloatArray) -> FloatArray:
        """Conditional mean of the next increment given all before it, and its own noise."""
        t = history.shape[1] - 1
        mean = self._normals(history) @ self._factor[t, :t]
        following: FloatArray = history[:, -1] + mean + self._factor[t, t] * normal.ravel()
        return following

    def innovation(self, history: FloatArray) -> FloatArray:
        """Normal number of the last step, shape (n, 1)."""
        t = history.shape[1] - 1
        number: FloatArray = np.diff(history, axis=1) @ self._whitening[t - 1, :t]
        return number[:, None]

    def look(self, history: FloatArray) -> View:
        """Value, and the mean path ahead: its next steps, its top and its end.

        The reward of the best date planned now bounds the value of going on from below, so the
        regression learns how much more there is in waiting to decide.
        """
        t, now = history.shape[1] - 1, history[:, -1]
        n, everywhere = len(now), np.ones(len(now), dtype=np.bool_)
        if t == self.dates:
            return View(-now, np.zeros((n, 1)), everywhere, np.zeros(n))
        ahead = self._normals(history) @ self._outlook[t].T
        chosen = np.unique(np.geomspace(1, self.dates - t, self.lags).astype(int)) - 1
        top = ahead.max(axis=1)
        features = np.column_stack([top, ahead[:, chosen]])
        return View(-now, features, everywhere, -now - top)
