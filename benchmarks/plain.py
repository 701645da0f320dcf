"""The obvious ways: a loop over tokens and layers, and rows of float64, `[n, layers]`, in numpy.

What a user writes first, and then a careful one, who evaluates every rule by vectorised numpy on
all rows; searches that share a scan share it there too, and nothing is validated.
"""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from stopping.model.noise import GaussianNoise, UniformNoise
from stopping.model.process import Process
from stopping.rules import AbstractRule, Search, Shifted

BINS, HIGH = 256, 3.0


def simulate(process: Process, rules: Sequence[AbstractRule], n: int, seed: int) -> list[Any]:
    """Mean, variance, maximum, histogram and layers of every rule on `n` tokens."""
    rng = np.random.default_rng(seed)
    layers = process.layers
    turning = rng.choice(layers, size=n, p=process.turning_distribution())
    rise: Any = process.rise
    if process.rise_excess:
        rise = rise + process.rise_excess * rng.standard_exponential((n, layers))
    steps = np.where(np.arange(layers) > turning[:, None], rise, -np.asarray(process.drift))
    steps[:, 0] = 0.0
    G = process.start + np.cumsum(steps, axis=1)
    match process.noise:
        case UniformNoise(scale):
            x = G + rng.uniform(-scale, scale, (n, layers))
        case GaussianNoise(scale):
            x = G + rng.normal(0.0, scale, (n, layers))
        case _:
            raise TypeError(process.noise)
    rows = np.arange(n)
    least = G[rows, turning]
    searches: dict[int, np.ndarray] = {}
    found = []
    for rule in rules:
        if isinstance(rule, Search | Shifted):
            if rule.K not in searches:
                searches[rule.K] = Search(rule.K)._choose(x, None)
            layer = searches[rule.K]
            if isinstance(rule, Shifted):
                layer = np.clip(layer + rule.shift, layers - 1 - rule.K, layers - 1)
        else:
            layer = rule._choose(x, None)
        excess = G[rows, layer] - least
        found.append(
            (
                excess.mean(),
                excess.var(),
                excess.max(),
                np.histogram(excess, BINS, (0.0, HIGH))[0],
                np.bincount(layer, minlength=layers),
            )
        )
    return found


def loop(process: Process, K: int, n: int, seed: int) -> float:
    """Mean excess of the search alone, token by token in plain Python."""
    draws = random.Random(seed)
    layers, last = process.layers, process.layers - 1
    drift, rise = float(process.drift), float(process.rise)
    law = process.turning_distribution().tolist()
    turnings = draws.choices(range(layers), law, k=n)
    sigma = process.noise.scale if isinstance(process.noise, GaussianNoise) else 0.0
    eps = process.noise.eps_max if isinstance(process.noise, UniformNoise) else 0.0
    total = 0.0
    for turning in turnings:
        G, x = [], []
        value = float(process.start)
        for layer in range(layers):
            if layer > turning:
                value += rise + process.rise_excess * draws.expovariate(1.0)
            elif layer:
                value -= drift
            G.append(value)
            x.append(value + (draws.gauss(0.0, sigma) if sigma else draws.uniform(-eps, eps)))
        layer = last
        while layer > max(0, last - K) and x[layer - 1] < x[layer]:
            layer -= 1
        total += G[layer] - G[turning]
    return total / n
