"""The decoder table: what each design adds to a decode step, whole step and head block apart."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks.gpu.engine import SIZES, TINY, Engine, Size
from benchmarks.gpu.heads import Design, designs
from empirical.studies.cost import SHAPES, Device, Load, overheads, plain_step

if TYPE_CHECKING:
    from benchmarks.gpu.__main__ import Bench

K, CONTEXT = 10, 1024
BATCHES = (1, 8, 64)
# Shares of rows that go on: the paper's, a middle one, that of a small model.
RATES = (0.104, 0.5, 0.8)
_REPEATS = 50


@dataclass(frozen=True)
class Clock:
    """Times calls: by CUDA events over replays of a graph, or by the wall on a CPU."""

    cuda: bool
    repeats: int

    def graph(self, run: Callable[[], object]) -> Callable[[], object]:
        """Capture a call, after it has run a few times beside the main stream."""
        if not self.cuda:
            return run
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay

    def medians(self, calls: dict[str, Callable[[], object]]) -> dict[str, float]:
        """Median milliseconds of each call, the calls taking turns."""
        found: dict[str, list[float]] = {name: [] for name in calls}
        idle = 3 if self.cuda else 0
        for turn in range(self.repeats + idle):
            for name, call in calls.items():
                if self.cuda:
                    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                    begin.record()
                    call()
                    end.record()
                    end.synchronize()
                    took = begin.elapsed_time(end)
                else:
                    began = time.perf_counter()
                    call()
                    took = 1e3 * (time.perf_counter() - began)
                if turn >= idle:
                    found[name].append(took)
        return {name: statistics.median(values) for name, values in found.items()}


def rates_of(device: torch.device, dtype: torch.dtype, quick: bool) -> Device:
    """Measure the rates that the floors are made of: a copy, and a large product."""
    clock = Clock(device.type == "cuda", 3 if quick else 20)
    count = 1 << (16 if quick else 30)
    a, b = (torch.empty(count, dtype=torch.uint8, device=device) for _ in range(2))
    n = 64 if quick else 8192
    x, y = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    took = clock.medians({"copy": lambda: b.copy_(a), "product": lambda: x @ y})
    return Device(
        "this", 2 * count / (1e-3 * took["copy"]), 2 * n**3 / (1e-3 * took["product"]), 2e-6,
        "measured here: copy, and a square product",
    )  # fmt: skip


def table(bench: "Bench") -> Iterator[dict[str, Any]]:
    """One row for each model, batch, rate and design."""
    device = torch.device(bench.device)
    dtype = getattr(torch, bench.dtype)
    rates = rates_of(device, dtype, bench.quick)
    clock = Clock(device.type == "cuda", 1 if bench.quick else _REPEATS)
    for size in TINY if bench.quick else SIZES:
        need = _bytes(size, dtype)
        if device.type == "cuda" and need > 0.9 * torch.cuda.mem_get_info()[0]:
            yield _row(size, 0, 0.0, f"does not fit: {need / 1e9:.0f} GB of weights")
            continue
        engine = Engine(size, device, dtype)
        for batch in (2,) if bench.quick else BATCHES:
            yield from _batch(engine, rates, clock, batch, bench.quick)
        del engine
        if device.type == "cuda":
            torch.cuda.empty_cache()


@torch.inference_mode()
def _batch(
    engine: Engine, rates: Device, clock: Clock, batch: int, quick: bool
) -> Iterator[dict[str, Any]]:
    window = (3 if quick else K) + 1
    body = engine.body(batch, 16 if quick else CONTEXT, window)
    states = body().clone()
    only_body = clock.graph(body)
    for rate in RATES[:1] if quick else RATES:
        tau = threshold(engine.head, states, rate)
        free = int(2 * rates.free_rows / engine.head.element_size())
        found = designs(engine.head, tau, (window, batch), free)
        heads, steps, peaks = {}, {}, {}
        for name, design in found.items():
            held = _held(engine.device)
            heads[name] = clock.graph(_call(design, states))
            steps[name] = clock.graph(_step(design, body))
            peaks[name] = (_held(engine.device, peak=True) - held) / 1e6
        head = clock.medians(heads)
        step = clock.medians({**steps, "body": only_body})
        for name in found:
            added = step[name] - step["plain"]
            yield _row(
                engine.size, batch, rate, name,
                step=step[name], added=added, share=added / step["plain"], head=head[name],
                head_added=head[name] - head["plain"],
                floor=_floor(engine, rates, batch, rate, window, name), peak=peaks[name],
            )  # fmt: skip


def _call(design: Design, states: Tensor) -> Callable[[], object]:
    return lambda: design(states)


def _step(design: Design, body: Callable[[], Tensor]) -> Callable[[], object]:
    return lambda: design(body())


def _row(size: Size, batch: int, rate: float, design: str, **values: float) -> dict[str, Any]:
    names = {
        "step": "step, ms", "added": "added, ms", "share": "added, share", "head": "head, ms",
        "head_added": "head added, ms", "floor": "floor of the added, ms", "peak": "peak MB",
    }  # fmt: skip
    found = {"model": size.name, "batch": batch, "rate": rate, "design": design}
    return found | {title: values.get(name, "–") for name, title in names.items()}


def threshold(weight: Tensor, states: Tensor, rate: float) -> float:
    """Fall of entropy that a share `rate` of random rows exceeds at each layer, nats."""
    falls = []
    for row in range(states.shape[1]):
        z = (states[:, row] @ weight.T).float()
        x = torch.special.entr(z.softmax(dim=1)).sum(dim=1)
        falls.append(x[:-1] - x[1:])
    return float(torch.cat(falls).quantile(1 - rate))


def _floor(
    engine: Engine, rates: Device, batch: int, rate: float, window: int, design: str
) -> float | str:
    """What the roofline says that the design adds, ms."""
    shape = SHAPES.get(engine.size.name)
    if shape is None:
        return "–"
    load = Load(batch, rate, window - 1, CONTEXT, float(engine.head.element_size()))
    if design == "plain":
        return 1e3 * plain_step(shape, rates, load).total
    named = {o.design: o for o in overheads(shape, rates, load)}
    return 1e3 * named[{"released way": "released code"}.get(design, design)].seconds


def _bytes(size: Size, dtype: torch.dtype) -> float:
    experts = max(1, size.experts)
    layer = size.hidden * size.width * 2 * (size.heads + size.groups)
    layer += 3 * experts * size.hidden * size.inner
    return (size.layers * layer + size.hidden * size.vocabulary) * dtype.itemsize


def _held(device: torch.device, peak: bool = False) -> float:
    if device.type != "cuda":
        return 0.0
    if peak:
        return float(torch.cuda.max_memory_allocated())
    torch.cuda.reset_peak_memory_stats()
    return float(torch.cuda.memory_allocated())
