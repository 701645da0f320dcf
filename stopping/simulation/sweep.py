"""Every rule over a grid of worlds: where the search pays, and which rule is best where.

The noise is the unit: `eps_max = 1` for uniform noise, `sigma = 1` for Gaussian noise. A world has
a constant drift `gamma` and a constant rise `delta` (A3 holds for uniform noise where `delta > 2`),
and a share `perturbed` of tokens that turn at a layer uniform on the window. Each world is one
simulation of all rules on the same tokens.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, get_args

from stopping.errors import UserError
from stopping.model.noise import GaussianNoise, UniformNoise
from stopping.model.process import Process
from stopping.rules import AbstractRule, parse_rule
from stopping.simulation.engine import simulate
from stopping.simulation.grid import measure, product
from stopping.support.parallel import Workers
from stopping.support.store import Journal

Law: TypeAlias = Literal["uniform", "gaussian"]
LAWS: tuple[Law, ...] = get_args(Law)


@dataclass(frozen=True)
class World:
    """A world of the grid.

    Attributes
    ----------
    drift, rise : float
        `gamma` and `delta`, in units of the noise.
    perturbed : float
        Share of tokens that turn before the final layer.
    law : {"uniform", "gaussian"}
    K : int
        Steps back that the window allows; the stack has `K + 1` layers.
    """

    drift: float
    rise: float
    perturbed: float
    law: Law = "uniform"
    K: int = 10

    def process(self) -> Process:
        """Return the model; its parameters are checked there."""
        if self.law not in LAWS:
            raise UserError(f"law {self.law!r}: choose from {', '.join(LAWS)}")
        return Process(
            layers=self.K + 1,
            noise=UniformNoise(1.0) if self.law == "uniform" else GaussianNoise(1.0),
            K=self.K,
            # Entropies have no origin here: no rule but the forward exit knows one.
            start=self.K * self.drift,
            drift=self.drift,
            rise=self.rise,
            perturbed=self.perturbed,
        )

    def __str__(self) -> str:
        return (
            f"{self.law}, K={self.K}, drift={self.drift!r}, rise={self.rise!r}, "
            f"perturbed={self.perturbed!r}"
        )


@dataclass(frozen=True)
class Losses:
    """What the rules lose in one world, in units of the noise, in the order of the rules.

    Attributes
    ----------
    mean, stderr : tuple of float
        Expected excess.
    greatest : tuple of float
        Largest excess of any token.
    projections : tuple of float
        Projections per token beyond the final layer's.
    """

    mean: tuple[float, ...]
    stderr: tuple[float, ...]
    greatest: tuple[float, ...]
    projections: tuple[float, ...]

    @property
    def best(self) -> int:
        """Number of the rule that loses least in the mean, the first among ties."""
        return self.mean.index(min(self.mean))


DECIDED = 4.0
"""Standard errors beyond which a difference has a sign."""


def lead(losses: Losses, rule: int, other: int) -> int:
    """1 if rule number `rule` loses less than `other` in the mean, -1 if more, 0 if undecided."""
    error = math.hypot(losses.stderr[rule], losses.stderr[other])
    gain = losses.mean[other] - losses.mean[rule]
    return 0 if abs(gain) <= DECIDED * error else 1 if gain > 0 else -1


def grid(
    drifts: Sequence[float],
    rises: Sequence[float],
    perturbed: Sequence[float] = (0.2,),
    law: Law = "uniform",
    K: int = 10,
) -> tuple[World, ...]:
    """Every combination, drifts varying slowest.

    Raises
    ------
    UserError
        If there is none, or a value is out of range.
    """
    worlds = product(
        lambda a, b, c: World(float(a), float(b), float(c), law, K), drifts, rises, perturbed
    )
    for world in worlds:
        world.process()
    return worlds


def landscape(
    worlds: Sequence[World],
    rules: Sequence[AbstractRule],
    tokens: int,
    seed: int,
    *,
    workers: Workers | None = None,
    journal: Journal | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> Mapping[World, Losses]:
    """Simulate every rule in every world.

    Parameters
    ----------
    worlds : sequence of World
    rules : sequence of AbstractRule
        With settings in units of the noise.
    tokens : int
        Tokens per world.
    seed : int
    workers : Workers, optional
        Default: this process.
    journal : Journal, optional
        Where finished worlds are kept, opened with `settings` of the same rules, tokens and seed.
    advance : callable
        Called with the number of worlds done since the last call.
    """
    job = partial(compute, rules=tuple(rule.spec() for rule in rules), tokens=tokens, seed=seed)
    found = measure(worlds, job, Losses, workers=workers, journal=journal, advance=advance)
    return dict(zip(worlds, found, strict=True))


def settings(rules: Sequence[AbstractRule], tokens: int, seed: int) -> dict[str, object]:
    """What all worlds of one journal have in common."""
    return {
        "sweep": "landscape",
        "rules": [rule.spec() for rule in rules],
        "tokens": tokens,
        "seed": seed,
    }


def compute(world: World, rules: Sequence[str], tokens: int, seed: int) -> Losses:
    """One world; rules as `parse_rule` reads them."""
    key = int.from_bytes(hashlib.sha256(f"{seed}: {world}".encode()).digest()[:8], "big")
    chosen = [parse_rule(rule) for rule in rules]
    found = simulate(world.process(), chosen, tokens, key, bins=1).rules
    return Losses(
        mean=tuple(rule.mean for rule in found),
        stderr=tuple(rule.stderr for rule in found),
        greatest=tuple(rule.greatest for rule in found),
        projections=tuple(rule.projections for rule in found),
    )
