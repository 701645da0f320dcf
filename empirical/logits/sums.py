r"""Entropy in one pass over a vocabulary that is never whole: three sums that can be merged.

For the logits `z` of some entries let

    m = max z,   s = sum e^(z-m),   t = sum e^(z-m) (z-m).

The sums of two sets of entries become those of both, each being moved to the larger of the two
maxima, `d = m_i - m <= 0`:

    s = sum_i e^(d_i) s_i,   t = sum_i e^(d_i) (t_i + d_i s_i),

and of the whole vocabulary the entropy is `H = log s - t / s`, two terms that are never negative
(see `empirical.logits.readout`). So a vocabulary may be read tile by tile (capture), by the thread
blocks of a kernel, or by the ranks of a tensor-parallel model, which exchange twelve bytes per row
in place of logits. Sums are merged in the order in which they are given: the same parts give the
same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# e^-80 is nothing beside 1 in single precision: a vocabulary of such entries changes no digit. The
# floor keeps masked entries from becoming 0 * inf, and exponentials out of denormal numbers, which
# take fifty times as long.
FLOOR = -80.0


@dataclass(frozen=True, eq=False)
class Sums:
    """The three sums of `n` rows over some entries, and the best of these entries.

    Attributes
    ----------
    m, s, t : (n,) float32 or float64
        A row all of whose entries are masked has `m = -inf` and `s = t = 0`.
    top1 : (n,) int64
        Number of the most probable entry, the lowest among ties.
    """

    m: Tensor
    s: Tensor
    t: Tensor
    top1: Tensor

    def rows(self, rows: slice | Tensor) -> "Sums":
        """The same of some rows."""
        return Sums(self.m[rows], self.s[rows], self.t[rows], self.top1[rows])

    @property
    def entropy(self) -> Tensor:
        """Entropy of the softmax, nats, (n,)."""
        return self.s.log() - self.t / self.s

    @property
    def log_normaliser(self) -> Tensor:
        """`log sum e^z`, (n,)."""
        return self.m + self.s.log()


def sums_of(logits: Tensor, first: int = 0) -> Sums:
    """Sums of the logits (n, entries) of those from number `first`; masked entries are -inf."""
    m, top1 = logits.max(dim=1)
    # A row without any entry has no maximum to shift by.
    present = m != -torch.inf
    shifted = (logits - torch.where(present, m, 0.0)[:, None]).clamp(min=FLOOR)
    weights = shifted.exp()
    s, t = weights.sum(dim=1), weights.mul_(shifted).sum(dim=1)
    return Sums(m, s * present, t * present, top1 + first)


def joined(parts: Sequence[Sums]) -> Sums:
    """Rows of all parts, one part after the other."""
    columns = zip(*((part.m, part.s, part.t, part.top1) for part in parts), strict=True)
    return Sums(*map(torch.cat, columns))


def merged(parts: Sequence[Sums]) -> Sums:
    """Sums over the entries of all parts, which are merged in the order given.

    With the shards of a vocabulary over the ranks of a tensor-parallel model: each rank takes
    `sums_of` its own logits, one all-gather of `(m, s, t, top1)` brings the parts to all ranks,
    and each merges them in the order of the ranks, so that all come to the same bits.
    """
    whole, *others = parts
    for part in others:
        m = torch.maximum(whole.m, part.m)
        shift = torch.where(m == -torch.inf, 0.0, m)
        s, t = whole.s * 0, whole.t * 0
        for one in (whole, part):
            d = (one.m - shift).clamp(min=-1e30)
            factor = d.exp()
            s, t = s + factor * one.s, t + factor * (one.t + d.clamp(min=FLOOR) * one.s)
        whole = Sums(m, s, t, torch.where(part.m > whole.m, part.top1, whole.top1))
    return whole
