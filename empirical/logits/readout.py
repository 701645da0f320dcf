"""What is read off a row of logits: entropy, log-probability, the most probable token.

With `m = max z`, `s = sum e^(z-m)` and `t = sum e^(z-m) (z-m)`, the entropy of the softmax is

    H = log s - t / s,

a sum of two terms that are never negative, so nothing cancels: in float32 it is right to about
1e-6 nats where the usual `logsumexp(z) - sum p z` is off by 1e-3 (verified in the tests). The
probabilities are `log p[i] = z[i] - m - log s` and `max p = 1 / s`. All sums are in float32,
whatever the precision of the logits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from empirical.logits.sums import FLOOR
from stopping.errors import UserError

# Rows are reduced in blocks whose copies stay in the processor's cache: half the time of doing
# all rows at once (on a GPU it makes no difference worth a second code path).
_BLOCK_BYTES = 1 << 19
_STRETCH = 512


@dataclass(frozen=True, eq=False)
class Readout:
    """Statistics of `n` rows of logits, each of shape (n,): float32, and int64 for `top1`."""

    entropy: Tensor
    log_prob: Tensor
    top1: Tensor
    top1_prob: Tensor


def read_logits(logits: Tensor, tokens: Tensor) -> Readout:
    """Read the statistics of each row.

    Parameters
    ----------
    logits : (n, vocabulary)
        Any floating dtype. Masked entries are -inf; at least one entry per row is finite.
    tokens : (n,)
        The token of each row whose log-probability is asked for.

    Raises
    ------
    UserError
        If a row holds NaN or +inf, or nothing but -inf.
    """
    logits = logits.detach()
    block = max(1, _BLOCK_BYTES // (4 * logits.shape[1])) if logits.device.type == "cpu" else 256
    scratch = logits.new_empty((2, min(block, len(logits)), logits.shape[1]), dtype=torch.float32)
    rows = [_read_block(z.float(), *scratch[:, : len(z)]) for z in torch.split(logits, block)]
    largest, top1, log_s, entropy = (torch.cat(column) for column in zip(*rows, strict=True))
    require_finite(largest)
    chosen = logits.gather(1, tokens[:, None])[:, 0].float()
    return Readout(
        entropy=entropy, log_prob=chosen - largest - log_s, top1=top1, top1_prob=torch.exp(-log_s)
    )


class NoNumberError(UserError):
    """Row number `row` of `rows` rows of logits holds no number."""

    def __init__(self, row: int, rows: int) -> None:
        self.row, self.rows = row, rows
        super().__init__(
            f"logits: row {row} of {rows} holds NaN, +inf or no finite value at all; "
            "the model's numbers overflow: load it with --dtype float32"
        )


def require_finite(largest: Tensor) -> None:
    """Refuse rows whose largest logit, (n,), is no number."""
    finite = torch.isfinite(largest)
    if not finite.all():
        raise NoNumberError(int((~finite).nonzero()[0]), len(largest))


def _read_block(
    z: Tensor, shifted: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Maximum, its place, log s and entropy of some rows; the other two are overwritten."""
    largest, top1 = _maximum(z)
    torch.sub(z, largest[:, None], out=shifted).clamp_(min=FLOOR)
    s = torch.exp(shifted, out=weights).sum(dim=1)
    t = weights.mul_(shifted).sum(dim=1)
    log_s = s.log()
    return largest, top1, log_s, log_s - t / s


def _maximum(z: Tensor) -> tuple[Tensor, Tensor]:
    """Largest logit of each row and the first entry that has it.

    A search for the place is several times slower than one for the value, so it is made within
    the first stretch of entries that has the value only.
    """
    rows, entries = z.shape
    whole = entries // _STRETCH
    if z.device.type != "cpu" or whole < 2 or z.stride(1) != 1:
        found = z.max(dim=1)
        return found.values, found.indices
    stretches = z[:, : whole * _STRETCH].view(rows, whole, _STRETCH)
    largest, first = stretches.amax(dim=2).max(dim=1)
    place = first * _STRETCH + stretches[torch.arange(rows), first].argmax(dim=1)
    if entries == whole * _STRETCH:
        return largest, place
    rest, there = z[:, whole * _STRETCH :].max(dim=1)
    later = (rest > largest) | rest.isnan()
    return torch.where(later, rest, largest), torch.where(later, there + whole * _STRETCH, place)
