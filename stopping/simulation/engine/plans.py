"""What the engine has to know of a rule: the scan it reads off, and the layer for each depth.

Each rule of the zoo goes back a number of layers that is a nested family of events, "by `j` layers
or more", decided by one of five scans. Rules with the same scan share it: the shifted searches are
the search with other layers written beside its depths.
"""

from dataclasses import dataclass
from functools import singledispatch
from typing import TypeAlias

import numpy as np

from stopping.errors import UserError
from stopping.model.windows import window_start
from stopping.rules import (
    AbstractRule,
    Final,
    FixedOffset,
    ForwardExit,
    Guarded,
    Patience,
    Search,
    Shifted,
    Tolerance,
    WindowMinimum,
)
from stopping.types import IntArray


@dataclass(frozen=True)
class Stay:
    """No scan: every token has depth 0."""

    steps: int = 0


@dataclass(frozen=True)
class Fall:
    """Goes on while `x[l-1] < x[l] - tau`, at most `steps` layers."""

    steps: int
    tau: float = 0.0


@dataclass(frozen=True)
class Guard:
    """Goes on while `x[l-1] < r_l`, where `r_l` sinks by `2 guard` per step."""

    steps: int
    guard: float


@dataclass(frozen=True)
class Forgive:
    """The last new minimum before `m + 1` layers in a row without one."""

    steps: int
    m: int


@dataclass(frozen=True)
class Least:
    """The least value of the window."""

    steps: int


@dataclass(frozen=True)
class Below:
    """The layer furthest back whose value is at most `threshold`."""

    steps: int
    threshold: float


Scan: TypeAlias = Stay | Fall | Guard | Forgive | Least | Below


@dataclass(frozen=True, eq=False)
class Plan:
    """A rule as the engine runs it.

    Attributes
    ----------
    scan : Scan
        Decides the depth of each token, `0 .. scan.steps`.
    layers : ndarray of int, shape (scan.steps + 1,)
        The layer that is chosen at each depth.
    projections : ndarray of int, shape (scan.steps + 1,), optional
        Projections beyond the final layer's at each depth; None where the scan counts them.
    """

    scan: Scan
    layers: IntArray
    projections: IntArray | None


@singledispatch
def plan(rule: AbstractRule, layers: int) -> Plan:
    """Return the plan of a rule on a stack of `layers`.

    Raises
    ------
    UserError
        If the engine does not know the rule, or the rule is randomised.
    """
    raise UserError(
        f"{rule.name}: the engine has no scan for this rule; simulate it with Process.sample and "
        "rule.choose"
    )


@plan.register
def _(rule: Final, layers: int) -> Plan:
    return Plan(Stay(), np.array([layers - 1]), np.array([0]))


@plan.register
def _(rule: FixedOffset, layers: int) -> Plan:
    return Plan(Stay(), np.array([window_start(layers, rule.k)]), np.array([0]))


@plan.register
def _(rule: Search, layers: int) -> Plan:
    if rule.p == 0.0:
        return plan(Final(), layers)
    if rule.p < 1.0:
        raise UserError(
            f"{rule.name}: the engine draws nothing for a rule; mix the search's and the "
            "final layer's results with weights p and 1 - p"
        )
    return _scan(Fall(_steps(layers, rule.K)), layers)


@plan.register
def _(rule: Tolerance, layers: int) -> Plan:
    return _scan(Fall(_steps(layers, rule.K), rule.tau), layers)


@plan.register
def _(rule: Guarded, layers: int) -> Plan:
    return _scan(Guard(_steps(layers, rule.K), rule.guard), layers)


@plan.register
def _(rule: Shifted, layers: int) -> Plan:
    search = plan(Search(rule.K), layers)
    last = layers - 1
    moved = np.clip(search.layers + rule.shift, window_start(layers, rule.K), last)
    assert search.projections is not None
    return Plan(search.scan, moved, np.maximum(search.projections, last - moved))


@plan.register
def _(rule: Patience, layers: int) -> Plan:
    scan = Forgive(_steps(layers, rule.K), rule.m)
    return Plan(scan, layers - 1 - np.arange(scan.steps + 1), None)


@plan.register
def _(rule: WindowMinimum, layers: int) -> Plan:
    scan = Least(_steps(layers, rule.K))
    depth = np.arange(scan.steps + 1)
    return Plan(scan, layers - 1 - depth, np.full_like(depth, scan.steps))


@plan.register
def _(rule: ForwardExit, layers: int) -> Plan:
    scan = Below(_steps(layers, rule.K), rule.threshold)
    depth = np.arange(scan.steps + 1)
    return Plan(scan, layers - 1 - depth, scan.steps - depth)


def _steps(layers: int, K: int) -> int:
    return layers - 1 - window_start(layers, K)


def _scan(scan: Fall | Guard, layers: int) -> Plan:
    """A scan that reads one layer beyond the one it returns, unless the window ends there."""
    depth = np.arange(scan.steps + 1)
    return Plan(scan, layers - 1 - depth, np.minimum(depth + 1, scan.steps))
