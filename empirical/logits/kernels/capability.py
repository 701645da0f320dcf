"""Whether the kernels work on a device: not looked up, but tried and compared."""

import importlib.util
from functools import lru_cache

import torch

# The gate of the decoder: entropies in nats against double precision.
CLOSE = 5e-6


@lru_cache
def available(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether launch 1 runs there in this precision and gives entropies that are right.

    False without Triton, without CUDA, or if compiling or running fails.
    """
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    try:
        return largest_error(device, dtype) <= CLOSE
    except Exception:  # whatever a compiler or a driver may raise: there is another way
        return False


@torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
def largest_error(device: torch.device, dtype: torch.dtype, blocks: int | None = None) -> float:
    """Largest error of an entropy, nats, on random states of a small head."""
    from empirical.logits.kernels.fused import project_rows

    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(1000, 192, generator=generator).to(device, dtype) / 4
    x = torch.randn(33, 192, generator=generator).to(device, dtype)
    _, sums = project_rows(weight, x, blocks)
    exact = torch.special.entr((x.double() @ weight.double().T).softmax(1)).sum(1)
    return float((sums.entropy.double() - exact).abs().max())
