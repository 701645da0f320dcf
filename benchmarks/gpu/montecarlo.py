"""The Monte Carlo engine on a GPU: counter-based random numbers, one thread per token.

All that a token needs of the past is a few numbers (the value above, the reference of each scan,
the least value so far), so nothing but counts has to leave the chip. The noise of token `i` at
layer `L - j` is word `j mod 4` of Philox-4x32-10 at counter `(i, j div 4)` with the seed as key:
results do not depend on how tokens are spread over launches, blocks or devices.

Written in torch, so that it runs anywhere and `torch.compile` can fuse it into one kernel; in
eager mode it is bound by memory. The floor of the fused one is its integer work: ten rounds of
Philox for every four values.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stopping.model.noise import UniformNoise
from stopping.model.process import Process

if TYPE_CHECKING:
    from benchmarks.gpu.__main__ import Bench

WORLD = Process(40, UniformNoise(0.3), K=10, drift=0.05, rise=0.7, perturbed=0.5, start=2.1)
TAUS, GUARDS = (0.0, 0.1, 0.5), (0.1, 0.5)
"""Scans that stop: the search and two tolerances, and two guarded searches."""
SCANS = (*(f"tolerance {tau:g}" for tau in TAUS), *(f"guarded {guard:g}" for guard in GUARDS))
NAMES = (*SCANS, "window minimum")
ROUNDS, M0, M1, W0, W1 = 10, 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
MASK = 0xFFFFFFFF


def philox(counter: Tensor, word: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox-4x32-10 (Salmon et al. 2011) at `(counter, word)`: four words, each in an int64."""
    zero = torch.zeros_like(counter)
    a, b, c, d = counter & MASK, (counter >> 32) & MASK, zero + word, zero
    key0, key1 = seed & MASK, (seed >> 32) & MASK
    for _ in range(ROUNDS):
        high0, low0 = _product(a, M0)
        high1, low1 = _product(c, M1)
        a, b, c, d = high1 ^ b ^ key0, low1, high0 ^ d ^ key1, low0
        key0, key1 = (key0 + W0) & MASK, (key1 + W1) & MASK
    return a, b, c, d


def _product(value: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """High and low word of a product of two 32-bit numbers; int64 has no room for all of it."""
    low = value * (factor & 0xFFFF)
    high = value * (factor >> 16)
    middle = high + (low >> 16)
    return middle >> 16, ((middle & 0xFFFF) << 16) | (low & 0xFFFF)


def depths(first: int, n: int, seed: int, device: str, process: Process = WORLD) -> Tensor:
    """How far back each rule of `NAMES` goes for tokens `first .. first + n`, shape (rules, n).

    The turning point is drawn from word 0 of the last counter block, values from the others.
    """
    token = torch.arange(first, first + n, dtype=torch.int64, device=device)
    last, K = process.layers - 1, process.K
    law = torch.tensor(process.turning_distribution(), dtype=torch.float64, device=device)
    uniform = (philox(token, 1 << 20, seed)[0].double() + 0.5) * 2.0**-32
    turning = torch.searchsorted(law.cumsum(0)[:-1].contiguous(), uniform, right=True)
    eps_max, drift, rise = (float(v) for v in (process.noise.eps_max, process.drift, process.rise))  # type: ignore[attr-defined, arg-type]
    words: tuple[Tensor, ...] = ()
    # G at L, less G at the turning point's own level: it falls by `drift` up to V* and rises after.
    level = (last - turning).float() * rise
    above = torch.empty(0)
    found = torch.zeros((len(NAMES), n), dtype=torch.int32, device=device)
    going = torch.ones((len(SCANS), n), dtype=torch.bool, device=device)
    reference = torch.empty(0)
    for j in range(K + 1):
        if j % 4 == 0:
            words = philox(token, j // 4, seed)
        noise = ((words[j % 4].double() + 0.5) * 2.0**-31 - 1.0).float() * eps_max
        x = level + noise
        if j == 0:
            reference = x.expand(len(GUARDS), n).clone()
            least = x
        else:
            tests = [x < above - tau for tau in TAUS] + [x < row for row in reference]
            going = going & torch.stack(tests)
            found[: len(SCANS)] += going
            found[-1] = torch.where(x < least, j, found[-1])
            least = torch.minimum(least, x)
            guards = torch.tensor(GUARDS, device=device)[:, None]
            reference = torch.minimum(x, reference - 2.0 * guards)
        above = x
        # One layer back: down the rise that lies beyond V*, or up the fall below it.
        level = torch.where(last - j > turning, level - rise, level + drift)
    return found


def tally(n: int, seed: int, device: str, launch: int, run: Callable[..., Tensor]) -> Tensor:
    """Count depths by rule over `n` tokens, `launch` at a time, shape (rules, K + 1)."""
    total = torch.zeros((len(NAMES), WORLD.K + 1), dtype=torch.int64, device=device)
    for first in range(0, n, launch):
        depth = run(first, min(launch, n - first), seed, device)
        for rule in range(len(NAMES)):
            total[rule] += torch.bincount(depth[rule], minlength=WORLD.K + 1)
    return total


def rates(bench: "Bench") -> Iterator[dict[str, Any]]:
    """Tokens per second, beside the bandwidth that eager mode is bound by."""
    cuda = bench.device != "cpu"
    n, launch = (1 << 14, 1 << 12) if bench.quick else (1 << 28, 1 << 22)
    methods: dict[str, Callable[..., Tensor]] = {"eager": depths}
    if cuda:
        methods["compiled"] = torch.compile(depths)
    bandwidth = copy_rate(bench.device, 1 << (16 if bench.quick else 28))
    reference = tally(1 << 12, 0, bench.device, 1 << 12, depths).cpu()
    for name, run in methods.items():
        # The same tokens in other launches: the same counts.
        if not torch.equal(tally(1 << 12, 0, bench.device, 1000, run).cpu(), reference):
            raise AssertionError(f"{name}: the counts depend on the launches")
        _wait(cuda)
        began = time.monotonic()
        tally(n, 1, bench.device, launch, run)
        _wait(cuda)
        seconds = time.monotonic() - began
        yield {
            "method": name,
            "rules": len(NAMES),
            "tokens": n,
            "tokens/s": n / seconds,
            "copy, bytes/s": bandwidth,
            # What has to leave the chip even when fused: a depth of four bytes for each rule.
            "bandwidth floor, tokens/s": bandwidth / (4 * len(NAMES)),
        }


def copy_rate(device: str, size: int) -> float:
    """Bytes read and written per second by a copy."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    _wait(device != "cpu")
    began = time.monotonic()
    for _ in range(10):
        target.copy_(source)
    _wait(device != "cpu")
    return 20 * size / (time.monotonic() - began)


def _wait(cuda: bool) -> None:
    if cuda:
        torch.cuda.synchronize()
