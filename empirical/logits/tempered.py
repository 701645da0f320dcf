r"""The final layer at other temperatures: the plainest rival of any rule that chooses layers.

With the final layer's log-probabilities `log p(y)` and an inverse temperature `b = 1 / T`,

    log p_b(y) = b log p(y) - log sum_v p(v)^b,

an analytic function of `b`. It is kept at five values and interpolated between them by the
polynomial of degree four, so that a temperature can be fitted, on whatever tokens, without logits.
"""

import torch
from torch import Tensor

from empirical.logits.sums import FLOOR
from empirical.logits.temperatures import INVERSE_TEMPERATURES

_TILE = {"cpu": 512, "gpu": 1 << 16}


def tempered_log_prob(logits: Tensor, log_normaliser: Tensor, log_prob: Tensor) -> Tensor:
    """Log-probability of each row's token at each of `INVERSE_TEMPERATURES`.

    Parameters
    ----------
    logits : (tokens of the vocabulary, n)
        Of the final layer; masked ones are -inf.
    log_normaliser : (n,)
        `log sum e^z`.
    log_prob : (n,)
        Log-probability of the row's token at temperature 1.

    Returns
    -------
    (inverse temperatures, n)
    """
    sums = log_prob.new_zeros(len(INVERSE_TEMPERATURES), len(log_prob))
    tile = _TILE["cpu" if logits.device.type == "cpu" else "gpu"]
    for some in torch.split(logits, tile):
        log_p = (some - log_normaliser).clamp_(min=FLOOR)
        for row, inverse in zip(sums, INVERSE_TEMPERATURES, strict=True):
            row += (inverse * log_p).exp_().sum(dim=0)
    scaled = torch.outer(log_prob.new_tensor(INVERSE_TEMPERATURES), log_prob)
    found: Tensor = scaled - sums.log()
    return found
