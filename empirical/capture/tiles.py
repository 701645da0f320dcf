"""Statistics of a layer's logits, tile by tile: (rows, vocabulary) never exists.

The states of many rows, of several layers where a batch is small, meet the unembedding in tiles of
`words x rows`, `W[tile] x'`: small enough to stay in the processor's cache, large enough for the
product to run at its full speed. From a tile the three sums of `empirical.logits.sums` are taken,
the best word, and the logit of each row's own token; then it is overwritten. Beyond the states a
few tiles of 1 MB (on a GPU 4 MB) are held.
"""

import torch
from torch import Tensor

from empirical.logits.readout import Readout, require_finite
from empirical.logits.sums import FLOOR, Sums
from empirical.model.unembedding import Unembedding


def tile_of(device: torch.device) -> int:
    """Words, and rows, of a tile."""
    return 512 if device.type == "cpu" else 1024


@torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
def read_tiles(head: Unembedding, x: Tensor, temperature: Tensor, tokens: Tensor) -> Readout:
    """Read the statistics of each row.

    Parameters
    ----------
    x : (n, hidden)
        States as the decoder hands them to the head.
    temperature : (n,)
        What the logits of each row are divided by.
    tokens : (n,)
        The token of each row whose log-probability is asked for.

    Raises
    ------
    UserError
        If a row's logits hold NaN or +inf, or nothing but -inf.
    """
    side = tile_of(x.device)
    scale = None if bool((temperature == 1).all()) else 1 / temperature
    blocks = [
        _read_rows(
            head,
            x[start : start + side].T.contiguous(),
            None if scale is None else scale[start : start + side],
            tokens[start : start + side],
            side,
        )
        for start in range(0, len(x), side)
    ]
    chosen, sums = torch.cat([z for z, _ in blocks]), [part for _, part in blocks]
    m, s = torch.cat([part.m for part in sums]), torch.cat([part.s for part in sums])
    require_finite(m)
    log_s = s.log()
    return Readout(
        entropy=log_s - torch.cat([part.t for part in sums]) / s,
        log_prob=chosen - m - log_s,
        top1=torch.cat([part.top1 for part in sums]),
        top1_prob=1 / s,
    )


def _read_rows(
    head: Unembedding, x: Tensor, scale: Tensor | None, tokens: Tensor, side: int
) -> tuple[Tensor, Sums]:
    """Logit of each row's token, and the sums, of the states (hidden, n)."""
    n = x.shape[1]
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    tile, weights = (torch.empty(side, n, dtype=kind, device=x.device) for _ in range(2))
    m = torch.full((n,), -torch.inf, dtype=kind, device=x.device)
    s, t, chosen = torch.zeros_like(m), torch.zeros_like(m), torch.zeros_like(m)
    top1 = torch.zeros(n, dtype=torch.long, device=x.device)
    for start in range(0, head.words, side):
        stop = min(start + side, head.words)
        z = head.logits(x, slice(start, stop), tile[: stop - start])
        if scale is not None:
            z = z * scale
        here = ((tokens >= start) & (tokens < stop)).nonzero()[:, 0]
        chosen[here] = z[tokens[here] - start, here]
        largest = z.amax(dim=0)
        better = (largest > m).nonzero()[:, 0]
        top1[better] = z.index_select(1, better).max(dim=0).indices + start
        # A row all of whose words were masked so far has no maximum to shift by.
        largest = torch.maximum(largest, m)
        shift = torch.where(largest == -torch.inf, 0.0, largest)
        d = (m - shift).clamp_(min=-1e30)
        factor = d.exp()
        t, s = factor * (t + d.clamp(min=FLOOR) * s), factor * s
        # The tile is ours to overwrite, also where the head has made another one of it.
        e = torch.exp(z.sub_(shift).clamp_(min=FLOOR), out=weights[: stop - start])
        s += e.sum(dim=0)
        t += e.mul_(z).sum(dim=0)
        m = largest
    return chosen, Sums(m, s, t, top1)
