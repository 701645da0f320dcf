"""Statistics of a layer's logits, tile by tile: (rows, vocabulary) never exists.

The states of many rows, of several layers where a batch is small, meet the unembedding in tiles of
`entries x rows`, `W[tile] x'`: small enough to stay in the processor's cache, large enough for the
product to run at its full speed. From a tile the three sums of `empirical.logits.sums` are taken,
the best entry, and the logit of each row's own token. The rows of a block are the states of a few
tokens at all layers, whose logits are kept until the block is done: what hindsight is expected to
win (`empirical.logits.hindsight`) compares the layers of a token entry by entry, once all
normalisers are known. Beyond the states, one block's logits and a few tiles of 1 MB (on a GPU 4 MB)
are held.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from empirical.logits.hindsight import expected_gain
from empirical.logits.readout import Readout, require_finite
from empirical.logits.sums import FLOOR, Sums
from empirical.logits.tempered import tempered_log_prob
from empirical.model.unembedding import Unembedding

# Logits of a block: 128 MB on a CPU; a GPU wants longer blocks.
_BLOCK_BYTES = {"cpu": 1 << 27, "gpu": 1 << 30}


@dataclass(frozen=True, eq=False)
class LayersReadout(Readout):
    """Statistics of `n` tokens at several layers, each of shape (layers, n).

    Attributes
    ----------
    hindsight_gain : (layers, n)
        See `empirical.logits.hindsight`.
    tempered : (inverse temperatures, n)
        Log-probabilities of the final layer; see `empirical.logits.tempered`.
    """

    hindsight_gain: Tensor
    tempered: Tensor


def tile_of(device: torch.device) -> int:
    """Words, and rows, of a tile."""
    return 512 if device.type == "cpu" else 1024


def block_of(device: torch.device, entries: int, layers: int) -> int:
    """Tokens whose layers make up a block of rows."""
    held = _BLOCK_BYTES["cpu" if device.type == "cpu" else "gpu"]
    return max(1, min(tile_of(device), held // (4 * entries)) // layers)


@torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
def read_tiles(head: Unembedding, x: Tensor, temperature: Tensor, tokens: Tensor) -> LayersReadout:
    """Read the statistics of a block of tokens at all layers.

    Parameters
    ----------
    x : (layers, n, hidden)
        States as the decoder hands them to the head; the last of them is the final layer.
    temperature : (layers,)
        What the logits of each layer are divided by.
    tokens : (n,)
        The token of each row whose log-probability is asked for.

    Raises
    ------
    NoNumberError
        If a row's logits hold NaN or +inf, or nothing but -inf; rows are counted through all
        layers.
    """
    layers, n = x.shape[:2]
    side = tile_of(x.device)
    scale = None if bool((temperature == 1).all()) else (1 / temperature).repeat_interleave(n)
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    logits = torch.empty(head.entries, layers * n, dtype=kind, device=x.device)
    states = x.reshape(layers * n, -1).T.contiguous()
    chosen, sums = _read_rows(head, states, scale, tokens.repeat(layers), side, logits)
    require_finite(sums.m)
    log_s = sums.s.log()
    log_normaliser = sums.m + log_s
    logits, log_normaliser = logits.view(-1, layers, n), log_normaliser.view(layers, n)
    log_prob = (chosen - sums.m - log_s).view(layers, n)
    return LayersReadout(
        entropy=(log_s - sums.t / sums.s).view(layers, n),
        log_prob=log_prob,
        top1=sums.top1.view(layers, n),
        top1_prob=(1 / sums.s).view(layers, n),
        hindsight_gain=expected_gain(logits, log_normaliser),
        tempered=tempered_log_prob(logits[:, -1], log_normaliser[-1], log_prob[-1]),
    )


def _read_rows(
    head: Unembedding,
    x: Tensor,
    scale: Tensor | None,
    tokens: Tensor,
    side: int,
    logits: Tensor,
) -> tuple[Tensor, Sums]:
    """Logit of each row's token, and the sums, of the states (hidden, n); fills `logits`."""
    n = x.shape[1]
    tile, weights = (torch.empty(side, n, dtype=logits.dtype, device=x.device) for _ in range(2))
    m = torch.full((n,), -torch.inf, dtype=logits.dtype, device=x.device)
    s, t, chosen = torch.zeros_like(m), torch.zeros_like(m), torch.zeros_like(m)
    top1 = torch.zeros(n, dtype=torch.long, device=x.device)
    for start in range(0, head.entries, side):
        stop = min(start + side, head.entries)
        z = head.logits(x, slice(start, stop), tile[: stop - start])
        if scale is not None:
            z = z * scale
        logits[start:stop] = z
        here = ((tokens >= start) & (tokens < stop)).nonzero()[:, 0]
        chosen[here] = z[tokens[here] - start, here]
        largest = z.amax(dim=0)
        better = (largest > m).nonzero()[:, 0]
        top1[better] = z.index_select(1, better).max(dim=0).indices + start
        # A row all of whose entries were masked so far has no maximum to shift by.
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
