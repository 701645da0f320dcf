"""Which tokens that a model wrote stand in the text that the harness keeps.

Everywhere in this package those tokens are counted whose characters are in the text that its user
keeps. Rows of a batch run on until all have come to a stop string, and the harness cuts each text
before its own. A row may end in an end-of-text token, which is no part of its text, and with
`think_end_token` only what follows the last one is kept.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence

import numpy as np
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import postprocess_generated_text

from stopping.types import BoolArray

# Of a character, at most.
_BYTES = 4


def in_text(lm: HFLM, tokens: Sequence[int], stop: list[str]) -> BoolArray:
    """Say of each token of a row whether any of its characters is in the text that is kept."""
    ids = np.asarray(tokens, dtype=np.int64)
    begins, marker = 0, lm.think_end_token
    if isinstance(marker, int):
        begins, marker = int(np.max(np.flatnonzero(ids == marker), initial=-1)) + 1, None
    rest = list(tokens[begins:])
    whole: str = lm.tok_decode(rest)
    kept = postprocess_generated_text(whole, stop, marker)
    first = 0
    if marker:  # what comes before is cut, and the space that follows
        after = whole.split(marker)[-1]
        first = len(whole) - len(after.lstrip())
    last = first + len(kept)

    def length(n: int) -> int:
        return len(lm.tok_decode(rest[:n]))

    low = _ending_by(first, length, len(rest)) if first else 0
    high = len(rest)
    if last < len(whole):
        high = _ending_by(last, length, len(rest))
        high += length(high) < last  # a token whose first characters are kept
    found = np.zeros(len(ids), dtype=np.bool_)
    found[begins + low : begins + high] = True
    return found & ~np.isin(ids, lm.tokenizer.all_special_ids)


def _ending_by(place: int, length: Callable[[int], int], tokens: int) -> int:
    """How many of the tokens end at or before a place in their text.

    `length(n)` is that of the first `n` tokens' text. It grows with `n`, but for a character that
    is not complete yet: some tokenizers show each of its bytes.
    """
    near = bisect_right(range(tokens + 1), place, key=length) - 1
    around = range(max(0, near - _BYTES), min(tokens, near + _BYTES) + 1)
    return max(n for n in around if length(n) <= place)
