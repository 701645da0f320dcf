"""Worlds where an assumption fails, each with the bounds to ask there and those sure to survive.

Ten layers, a window of nine steps back unless it says otherwise, three shapes of `G`:

- *valley*: `V*` three layers before `L`, rises of 2.2 times the quoted `eps_max` after it (A3 with
  room to spare), and before it falls close to the worst on average (T13);
- *cliff*: `V* = L`, one large fall at the end and small ones before, where T10's tail bound is
  closest to being attained: one step back costs nearly all that the noise could hide, or more;
- *flat*: `V* = L`, no falls: T11 with equality for i.i.d. noise.

Bounded noise has `eps_max = 1` and, being uniform, `sigma = 1 / sqrt(3)`. Unbounded noise has
standard deviation 1, quoted as `sigma`, and three of these quoted as `eps_max`, as a practitioner
would.
"""

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from stopping.model.misspecification import (
    AutoregressiveNoise,
    LaplaceNoise,
    SteppedNoise,
    StudentNoise,
)
from stopping.model.noise import AbstractNoise, GaussianNoise, PerLayer, UniformNoise
from stopping.model.process import Process

LAYERS = 10
VALLEY = 6
"""Column of `V*` in the valley."""
# Falls from V* downwards, near T13's worst for uniform noise (in eps_max) and normal (in sigma).
UNIFORM_FALLS = (0.62, 0.33, 0.20, 0.14, 0.10, 0.08)
NORMAL_FALLS = (0.98, 0.68, 0.56, 0.50, 0.46, 0.37)
THREE_SIGMA = 3.0


class Bound(enum.StrEnum):
    """A bound that is asked, by the label of its theorem."""

    CONTAINMENT = "T1"
    EXCESS = "T2"
    EXCESS_RANGE = "T2 range"
    FINAL_LAYER = "T4"
    STOP_ABOVE = "T10 above"
    TAIL = "T10 tail"
    MEAN = "T10 mean"
    RUN_1 = "T11 run of 1"
    RUN_2 = "T11 run of 2"
    RUN_3 = "T11 run of 3"
    OVERSHOOT = "T11 mean"


SURE = frozenset({Bound.CONTAINMENT, Bound.EXCESS, Bound.EXCESS_RANGE, Bound.FINAL_LAYER})
TAILS = frozenset({Bound.STOP_ABOVE, Bound.TAIL, Bound.MEAN})
RUNS = frozenset({Bound.RUN_1, Bound.RUN_2, Bound.RUN_3, Bound.OVERSHOOT})

ASKED: dict[str, tuple[Bound, ...]] = {
    "valley": (
        Bound.CONTAINMENT,
        Bound.EXCESS,
        Bound.FINAL_LAYER,
        Bound.STOP_ABOVE,
        Bound.MEAN,
        Bound.OVERSHOOT,
    ),
    "cliff": (Bound.EXCESS, Bound.FINAL_LAYER, Bound.TAIL, Bound.MEAN),
    "flat": (Bound.RUN_1, Bound.RUN_2, Bound.RUN_3, Bound.OVERSHOOT),
}


@dataclass(frozen=True)
class Scenario:
    """A world, the constants quoted for it, and what is asked.

    Attributes
    ----------
    broken : str
        The assumption that fails, in words.
    parameter : str
        How far it fails.
    shape : str
        `valley`, `cliff` or `flat`.
    process : Process
        Samples the world; `G` and `V*` are the same for every token.
    turning : int
        Column of `V*`.
    eps_max, sigma : float
        Noise level and sub-Gaussian parameter that the bounds are quoted with.
    provable : frozenset of Bound
        Bounds that survive by proof, see `stopping.simulation.robustness`.
    asks : tuple of Bound
    step : float
        Height of the step in the noise, if it has one.
    """

    broken: str
    parameter: str
    shape: str
    process: Process
    turning: int
    eps_max: float
    sigma: float
    provable: frozenset[Bound]
    asks: tuple[Bound, ...]
    step: float = 0.0

    def __str__(self) -> str:
        return f"{self.broken}, {self.parameter}, {self.shape}"


def _scenario(
    broken: str,
    parameter: str,
    shape: str,
    noise: AbstractNoise,
    provable: frozenset[Bound],
    bounded: bool = True,
    cliff: float = 1.5,
) -> Scenario:
    """Build one of the three shapes with the constants that are quoted for its kind of noise.

    Bounded noise can hide a fall of `cliff`, unless that is above `2 eps_max`; unbounded noise
    meets a fall of 2.1 times the `eps_max` that is quoted for it.
    """
    turning = VALLEY if shape == "valley" else LAYERS - 1
    unit = 1.0 if bounded else THREE_SIGMA
    falls = np.zeros(LAYERS)
    if shape == "valley":
        falls[VALLEY:0:-1] = UNIFORM_FALLS if bounded else NORMAL_FALLS
    elif shape == "cliff":
        falls[1:] = 0.1
        falls[-1] = cliff if bounded else 2.1 * unit
    process = Process(
        layers=LAYERS,
        noise=noise,
        K=LAYERS - 1,
        drift=tuple(map(float, falls)),
        rise=2.2 * unit,
        perturbed=float(turning < LAYERS - 1),
        onset=_surely(turning),
    )
    sigma = 1.0 / math.sqrt(3.0) if bounded else 1.0
    return Scenario(broken, parameter, shape, process, turning, unit, sigma, provable, ASKED[shape])


def _surely(turning: int) -> tuple[float, ...]:
    """Return the law of `V*` below `L` that puts all mass on one column (unused for `V* = L`)."""
    column = min(turning, LAYERS - 2)
    return tuple(float(layer == column) for layer in range(LAYERS - 1))


def scenarios() -> tuple[Scenario, ...]:
    """Every scenario of the table, the one without a failure first."""
    return tuple(
        scenario
        for family in (
            _nothing,
            _weak_rise,
            _outside_window,
            _dependent,
            _unequal,
            _stepped,
            _heavy_tails,
        )
        for scenario in family()
    )


def _nothing() -> Iterator[Scenario]:
    for shape in ASKED:
        yield _scenario("nothing", "uniform", shape, UniformNoise(1.0), SURE | TAILS | RUNS)
    for shape in ASKED:
        provable = TAILS | RUNS
        yield _scenario("bounded noise", "normal", shape, GaussianNoise(1.0), provable, False)


def _weak_rise() -> Iterator[Scenario]:
    valley = _scenario("A3", "", "valley", UniformNoise(1.0), TAILS | RUNS)
    for layer, where in ((VALLEY + 1, "first rise"), (LAYERS - 1, "last rise")):
        for share in (0.25, 0.5, 0.9):
            rise = np.full(LAYERS, 2.2)
            rise[layer] = 2.0 * share
            # Stopping just above V* costs that rise, which is at most 2 eps_max.
            kept = {Bound.EXCESS} if layer == VALLEY + 1 else set[Bound]()
            yield replace(
                valley,
                parameter=f"{where} {share:g} x 2 eps_max",
                process=replace(valley.process, rise=tuple(map(float, rise))),
                provable=valley.provable | {Bound.FINAL_LAYER} | kept,
            )


def _outside_window() -> Iterator[Scenario]:
    valley = _scenario("A4", "", "valley", UniformNoise(1.0), frozenset({Bound.FINAL_LAYER}))
    # The other bounds speak of V^ <= V*, which cannot happen here.
    asks = (Bound.CONTAINMENT, Bound.EXCESS, Bound.FINAL_LAYER, Bound.STOP_ABOVE)
    for K in (2, 1):
        yield replace(
            valley,
            parameter=f"V* {LAYERS - 1 - VALLEY - K} below the window",
            process=replace(valley.process, K=K),
            asks=asks,
        )


def _dependent() -> Iterator[Scenario]:
    for rho in (-0.9, -0.5, 0.5, 0.9):
        # By the orthant probability of two successive differences of an AR(1) sequence.
        runs = {Bound.RUN_1} | ({Bound.RUN_2} if rho <= 0 else set[Bound]())
        # Uniform noise within eps_max never stops above V* (T1): T10's first part is trivial.
        sure = SURE | {Bound.STOP_ABOVE} | runs
        uniform = AutoregressiveNoise(UniformNoise(1.0), rho)
        for shape in ASKED:
            parameter = f"uniform, rho = {rho:g}"
            yield _scenario("independence", parameter, shape, uniform, sure)
        normal = AutoregressiveNoise(GaussianNoise(1.0), rho)
        tails = TAILS if rho >= 0 else frozenset({Bound.MEAN})
        for shape in ASKED:
            parameter = f"normal, rho = {rho:g}"
            provable = tails | frozenset(runs)
            yield _scenario("independence", parameter, shape, normal, provable, False)


def _unequal() -> Iterator[Scenario]:
    column = np.arange(LAYERS)
    patterns: tuple[tuple[str, PerLayer], ...] = (
        ("eps_max x 1.5 per layer", tuple(map(float, 1.5 ** (column - (LAYERS - 1.0))))),
        ("eps_max x 3 per layer", tuple(map(float, 3.0 ** (column - (LAYERS - 1.0))))),
        ("eps_max 1 and 0.2 in turn", tuple(map(float, np.where(column % 2, 1.0, 0.2)))),
    )
    for parameter, eps_max in patterns:
        for shape in ASKED:
            noise = UniformNoise(eps_max)
            provable = SURE | TAILS | {Bound.RUN_1}
            yield _scenario("equal layers", parameter, shape, noise, provable)


def _stepped() -> Iterator[Scenario]:
    for offset in (1.0, 3.0):
        noise = SteppedNoise(UniformNoise(1.0), LAYERS - 1, offset)
        parameter = f"step {offset:+g} eps_max at V* = L"
        ranged = frozenset({Bound.EXCESS_RANGE})
        cliff = _scenario("centred noise", parameter, "cliff", noise, ranged, cliff=2.1)
        yield replace(cliff, asks=(*cliff.asks, Bound.EXCESS_RANGE), step=offset)
        yield _scenario("centred noise", parameter, "flat", noise, frozenset())
    down = SteppedNoise(UniformNoise(1.0), LAYERS - 1, -1.0)
    for shape in ("cliff", "flat"):
        parameter = "step -1 eps_max at V* = L"
        yield _scenario("centred noise", parameter, shape, down, SURE | TAILS | RUNS)
    beyond = SteppedNoise(UniformNoise(1.0), VALLEY + 2, -1.5)
    provable = RUNS | {Bound.MEAN, Bound.FINAL_LAYER}
    yield _scenario("centred noise", "step -1.5 eps_max beyond V*", "valley", beyond, provable)


def _heavy_tails() -> Iterator[Scenario]:
    laws: tuple[tuple[str, AbstractNoise], ...] = (
        ("Laplace", LaplaceNoise(math.sqrt(0.5))),
        ("Student, 3 degrees", StudentNoise(1.0, 3.0)),
    )
    for parameter, noise in laws:
        for shape in ASKED:
            provable = RUNS | {Bound.MEAN}
            yield _scenario("sub-Gaussian noise", parameter, shape, noise, provable, False)
