"""Rules on tensors, decided where the entropies are; and the draws of those that randomise.

`steps_back` gives for each row what `rule.choose` of `stopping.rules` gives, as layers back from
`L`, from the same comparisons in the same precision (float64); the tests hold them together on
ties and near ties. Nothing here waits for the device, so a step that decides so may run ahead of
the host.

A randomised rule's draw is the first number of numpy's Philox generator with key `seed` and
counter `(0, position + 1, token + 1, 0)`: the draw of `empirical.decoding`, bit by bit. A round of
Philox4x64 (Salmon et al. 2011) multiplies 64-bit words into 128 bits; here in 32-bit halves.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stopping.rules import (
    AbstractRule,
    Final,
    Guarded,
    Hedged,
    Patience,
    Search,
    Shifted,
    Tolerance,
    WindowMinimum,
)

_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_BUMPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_LOW = 0xFFFFFFFF


def steps_back(rule: AbstractRule, x: Tensor, draws: Tensor | None = None) -> Tensor:
    """Layers back from `L` that a rule chooses, (n,) int64; 0 where its window holds a NaN.

    Parameters
    ----------
    rule : AbstractRule
        Of a class in `SERVED`.
    x : (n, w)
        Entropies in nats, the *final layer first*, then those before it.
    draws : (n,) float64, optional
        Uniform numbers, for rules that randomise.
    """
    reach = min(int(getattr(rule, "K", 0)), x.shape[1] - 1)
    if reach == 0:
        return torch.zeros(len(x), dtype=torch.int64, device=x.device)
    window = x[:, : reach + 1].double()
    found: Tensor = _RULES[type(rule)](rule, window, draws)
    return torch.where(window.isnan().any(1), 0, found)


def _run(goes_on: Tensor) -> Tensor:
    """Length of each row's run of true values from the left."""
    return goes_on.long().cumprod(1).sum(1)


def _search(rule: Search, x: Tensor, draws: Tensor | None) -> Tensor:
    depth = _run(x[:, 1:] < x[:, :-1])
    if rule.p == 1.0:
        return depth
    if rule.p == 0.0:
        return torch.zeros_like(depth)
    assert draws is not None, "0 < p < 1 needs draws"
    return depth * (draws < rule.p)


def _tolerance(rule: Tolerance, x: Tensor, draws: Tensor | None) -> Tensor:
    return _run(x[:, 1:] < x[:, :-1] - rule.tau)


def _shifted(rule: Shifted, x: Tensor, draws: Tensor | None) -> Tensor:
    return (_run(x[:, 1:] < x[:, :-1]) - rule.shift).clamp(0, x.shape[1] - 1)


def _minimum(rule: WindowMinimum, x: Tensor, draws: Tensor | None) -> Tensor:
    # The first of equals, whatever `argmin` does with them on this device.
    return (x == x.amin(1, keepdim=True)).long().argmax(1)


def _patience(rule: Patience, x: Tensor, draws: Tensor | None) -> Tensor:
    best = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    failures, least = torch.zeros_like(best), x[:, 0]
    for j in range(1, x.shape[1]):
        scanning = failures <= rule.m
        improves = scanning & (x[:, j] < least)
        best = torch.where(improves, j, best)
        least = torch.where(improves, x[:, j], least)
        failures = torch.where(improves, 0, failures + scanning)
    return best


def _guard(x: Tensor, guard: float) -> Tensor:
    depth = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    reference = x[:, 0]
    for j in range(1, x.shape[1]):
        depth += (depth == j - 1) & (x[:, j] < reference)
        reference = torch.minimum(x[:, j], reference - 2 * guard)
    return depth


def _guarded(rule: Guarded, x: Tensor, draws: Tensor | None) -> Tensor:
    return _guard(x, rule.guard)


def _hedged(rule: Hedged, x: Tensor, draws: Tensor | None) -> Tensor:
    assert draws is not None, "the hedged search needs draws"
    depth = _guard(x, rule.eps_max)
    above = (depth - 1).clamp(min=0)
    rise = (x.gather(1, above[:, None]) - x.gather(1, depth[:, None]))[:, 0]
    certain = (rise >= 2 * rule.eps_max) | (depth == 0)
    goes_on = torch.where(certain, 1.0, 0.5 + rise / (4 * rule.eps_max or 1.0))
    return torch.where(draws >= goes_on, above, depth)


def _final(rule: Final, x: Tensor, draws: Tensor | None) -> Tensor:
    return torch.zeros(len(x), dtype=torch.int64, device=x.device)


_RULES: dict[type[AbstractRule], Callable[[Any, Tensor, Tensor | None], Tensor]] = {
    Final: _final,
    Search: _search,
    Shifted: _shifted,
    Tolerance: _tolerance,
    Patience: _patience,
    Guarded: _guarded,
    Hedged: _hedged,
    WindowMinimum: _minimum,
}
SERVED = tuple(_RULES)
"""Classes of the rules that are decided here."""


def draw(seed: int, position: Tensor, token: Tensor) -> Tensor:
    """Uniform numbers in [0, 1), (n,) float64, of each (position, token).

    Parameters
    ----------
    seed : int
        0 <= seed < 2^128.
    position, token : (n,) int64
    """
    # numpy counts on before it draws, and the first word of the counter is 0 before.
    words = [torch.ones_like(position), position + 1, token + 1, torch.zeros_like(token)]
    keys = [seed & (2**64 - 1), seed >> 64]
    for _ in range(_ROUNDS):
        (high0, low0), (high1, low1) = (
            _product(words[2 * i], multiplier) for i, multiplier in enumerate(_MULTIPLIERS)
        )
        words = [
            high1 ^ words[1] ^ _signed(keys[0]),
            low1,
            high0 ^ words[3] ^ _signed(keys[1]),
            low0,
        ]
        keys = [(key + bump) % 2**64 for key, bump in zip(keys, _BUMPS, strict=True)]
    return ((words[0] >> 11) & (2**53 - 1)).double() * 2.0**-53


def _product(a: Tensor, b: int) -> tuple[Tensor, Tensor]:
    """High and low words of the product of unsigned 64-bit words, held as int64."""
    a_low, a_high = a & _LOW, (a >> 32) & _LOW
    b_low, b_high = b & _LOW, b >> 32
    # Products of halves fill 64 bits; their own halves are added where nothing overflows.
    low, middle, cross, high = a_low * b_low, a_low * b_high, a_high * b_low, a_high * b_high
    carried = ((low >> 32) & _LOW) + (middle & _LOW) + (cross & _LOW)
    above = high + ((middle >> 32) & _LOW) + ((cross >> 32) & _LOW) + (carried >> 32)
    return above, a * _signed(b)


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word
