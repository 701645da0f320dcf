"""The kernel on the device: is it right, and how does it compare with the product alone?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.gpu.heads import kernels_run
from benchmarks.gpu.steps import Clock, rates_of

if TYPE_CHECKING:
    from benchmarks.gpu.__main__ import Bench

WORDS, WINDOW = 151_936, 11


def correctness(bench: "Bench") -> Iterator[dict[str, Any]]:
    """Errors of entropies against double precision, and choices that differ, by kind of logits."""
    device, dtype = torch.device(bench.device), getattr(torch, bench.dtype)
    if not kernels_run(device):
        yield {"logits": "not run: no GPU, and TRITON_INTERPRET is not 1"}
        return
    from benchmarks.gpu.head_kernel import HeadKernel

    entries, hidden, batch = (200, 32, 1) if bench.quick else (WORDS, 4096, 8)
    generator = torch.Generator(device=device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    weight = (normal(entries, hidden) * 3 * hidden**-0.5).to(dtype)
    x = normal(1, batch, hidden) + normal(WINDOW, batch, hidden).cumsum(0) / 3
    mask = torch.arange(entries, device=device) % 3 == 0
    kinds: dict[str, tuple[Tensor, dict[str, Any]]] = {
        "random": (x, {}),
        "peaked": (20 * x, {}),
        "shifted": (x, {"bias": torch.full((entries,), 100.0, device=device)}),
        "soft-capped": (x, {"cap": 3.0}),
        "masked": (x, {"mask": mask}),
    }
    for kind, (states, settings) in kinds.items():
        states = states.to(dtype)
        for first in (WINDOW, 2):
            kernel = HeadKernel(weight, batch=batch, window=WINDOW, first=first, **settings)
            seen = kernel.step(states)
            exact = torch.stack([_exact(weight, s, settings) for s in states], dim=1)
            read = ~seen.entropy.isnan()
            error = (seen.entropy.double() - exact)[read].abs().max()
            falls = (exact[:, 1:] < exact[:, :-1]).long().cumprod(dim=1)
            clear = ((exact[:, 1:] - exact[:, :-1]).abs() > 1e-4).all(dim=1)
            wrong = (falls.sum(dim=1) != seen.column)[clear].sum()
            once = seen.entropy.clone().nan_to_num()  # the next step overwrites it
            again = kernel.step(states).entropy.nan_to_num()
            yield {
                "logits": kind,
                "first": first,
                "largest error, nats": float(error),
                "choices that differ": int(wrong),
                "same bits again": bool(torch.equal(again, once)),
            }


def _exact(weight: Tensor, x: Tensor, settings: dict[str, Any]) -> Tensor:
    z = x.double() @ weight.double().T
    z = z + settings["bias"].double() if "bias" in settings else z
    z = settings["cap"] * torch.tanh(z / settings["cap"]) if "cap" in settings else z
    z = z.masked_fill(settings["mask"], -torch.inf) if "mask" in settings else z
    return torch.special.entr(z.softmax(dim=1)).sum(dim=1)


def speed(bench: "Bench") -> Iterator[dict[str, Any]]:
    """Time of the kernel beside the product of as many rows, and beside reading the weights."""
    device, dtype = torch.device(bench.device), getattr(torch, bench.dtype)
    if not kernels_run(device):
        yield {"rows": "not run: no GPU, and TRITON_INTERPRET is not 1"}
        return
    from benchmarks.gpu.head_kernel import HeadKernel

    rates = rates_of(device, dtype, bench.quick)
    clock = Clock(device.type == "cuda", 1 if bench.quick else 50)
    for hidden in (48,) if bench.quick else (2048, 4096, 5120):
        entries = 300 if bench.quick else WORDS
        weight = torch.randn(entries, hidden, device=device).to(dtype) * 3 * hidden**-0.5
        for batch in (1,) if bench.quick else (1, 4, 8, 16, 64):
            x = torch.randn(WINDOW, batch, hidden, device=device).to(dtype)
            stored = HeadKernel(weight, batch=batch, window=WINDOW)
            bare = HeadKernel(weight, batch=batch, window=WINDOW, store=False)
            flat = x.flatten(0, 1)

            def calls(
                x: Tensor = x, flat: Tensor = flat, weight: Tensor = weight,
                stored: HeadKernel = stored, bare: HeadKernel = bare,
            ) -> dict[str, Any]:  # fmt: skip
                return {
                    "product": clock.graph(lambda: F.linear(flat, weight)),
                    "one row": clock.graph(lambda: F.linear(flat[:1], weight)),
                    "stored": clock.graph(lambda: stored.step(x)),
                    "bare": clock.graph(lambda: bare.step(x)),
                }

            took = clock.medians(calls())
            size = weight.numel() * weight.element_size()
            yield {
                "hidden": hidden,
                "rows": WINDOW * batch,
                "product, ms": took["product"],
                "kernel over product": took["stored"] / took["product"],
                "without logits over product": took["bare"] / took["product"],
                "kernel over one row's product": took["stored"] / took["one row"],
                "kernel over reading the weights": took["stored"]
                / (1e3 * size / rates.bytes_per_second),
            }
