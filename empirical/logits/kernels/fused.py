"""The launch behind a call: logits and sums of some rows."""

import torch
import triton
from torch import Tensor

from empirical.logits.kernels.project import project
from empirical.logits.sums import FLOOR, Sums

BLOCK_ENTRIES, BLOCK_HIDDEN = 128, 64
# Blocks of a row are a tensor core's width at least, and no more than its registers hold.
_LEAST_ROWS, _MOST_ROWS = 16, 64


def rows_of_a_block(rows: int) -> int:
    """Rows that a thread block reads at a time."""
    return int(min(max(triton.next_power_of_2(rows), _LEAST_ROWS), _MOST_ROWS))


def multiprocessors(device: torch.device) -> int:
    """Number of a GPU's multiprocessors; a few on a CPU, for the interpreter."""
    if device.type != "cuda":
        return 4
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def project_rows(weight: Tensor, x: Tensor, blocks: int | None = None) -> tuple[Tensor, Sums]:
    """Logits (n, entries) of the states `x` (n, hidden), in their precision, and their sums.

    The sums are those of the float32 logits before they are rounded. For use without a graph.
    """
    rows, (entries, hidden) = len(x), weight.shape
    blocks = blocks or multiprocessors(x.device)
    x = x.contiguous()
    z = torch.empty((rows, entries), dtype=weight.dtype, device=x.device)
    parts = torch.empty((3, blocks, rows), dtype=torch.float32, device=x.device)
    tops = torch.empty((blocks, rows), dtype=torch.int32, device=x.device)
    ones = torch.ones(1, dtype=torch.float32, device=x.device)
    block_rows = rows_of_a_block(rows)
    project[(blocks, triton.cdiv(rows, block_rows))](
        x, weight, weight, ones, weight, tops, tops, z, *parts, tops,
        1, rows, entries, hidden, 0, x.stride(0), weight.stride(0), 1.0, 0.0,
        HAS_BIAS=False, HAS_MASK=False, HAS_CAP=False, HAS_ORDER=False, STORE=True,
        EXACT=weight.dtype == torch.float32,
        BLOCK_ENTRIES=BLOCK_ENTRIES, BLOCK_ROWS=block_rows, BLOCK_HIDDEN=BLOCK_HIDDEN,
    )  # fmt: skip
    m, s, t = parts
    largest = m.amax(dim=0)
    d = (m - torch.where(largest == -torch.inf, 0.0, largest)).clamp(min=-1e30)
    factor = d.exp()
    top = torch.where(m == largest, tops, entries).amin(dim=0)
    t = (factor * (t + d.clamp(min=FLOOR) * s)).sum(dim=0)
    return z, Sums(largest, (factor * s).sum(dim=0), t, top.long())
