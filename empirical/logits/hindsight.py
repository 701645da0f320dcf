r"""What choosing a layer after the fact is expected to win: the ceiling's null.

Let `p_l` be the distributions of the layers of a window and `p_L` the final one. If the next token
were drawn from `p_L` itself, no other layer would know more than the final one; still the layer
best in hindsight would beat it, on average by

    G = sum_y p_L(y) ( max_l log p_l(y) - log p_L(y) ),

since the maximum is taken after `y` is seen. `G >= 0`, with equality only where no layer gives any
token more than `p_L` does. On real tokens the gain of the best layer in hindsight says something
about the layers only where it exceeds `G`.

All terms are non-negative, so nothing cancels. The normalisers of all layers must be known before
the first maximum: logits are therefore kept for a few tokens at a time, and summed by tiles.
"""

import torch
from torch import Tensor

from empirical.logits.sums import FLOOR

# Words that are masked everywhere: far below all others, and yet a number.
_NEVER = -1e4


# Words at a time: what stays in a processor's cache; a GPU wants few and large operations.
_TILE = {"cpu": 512, "gpu": 1 << 16}


def expected_gain(logits: Tensor, log_normaliser: Tensor) -> Tensor:
    """Expected hindsight gain of the window that begins at each layer.

    Parameters
    ----------
    logits : (entries, layers, n)
        The final layer is the final one; masked entries are -inf.
    log_normaliser : (layers, n)
        `log sum e^z` of each.

    Returns
    -------
    (layers, n)
        Nats; the gain over the layers from this one to the final one. Never negative, zero at the
        final layer, and larger the lower the window begins.
    """
    gain = torch.zeros_like(log_normaliser)
    last = len(gain) - 1
    tile = _TILE["cpu" if logits.device.type == "cpu" else "gpu"]
    for some in torch.split(logits, tile):
        final = (some[:, last] - log_normaliser[last]).clamp_(min=_NEVER)
        p, best = final.clamp(min=FLOOR).exp_(), final.clone()
        for layer in range(last - 1, -1, -1):
            torch.maximum(best, some[:, layer] - log_normaliser[layer], out=best)
            gain[layer] += (p * (best - final)).sum(dim=0)
    return gain
