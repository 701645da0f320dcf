"""Five tokens of two prompts and four layers, small enough to do every sum by hand.

token  entropy x (final last)     search (K = 3)   log-loss              top-1 (final last)  ref.
0      1.0  0.8  0.5  0.9         depth 1          3     2    1    0.5   1 1 7 7             7
1      0.2  0.4  0.7  1.0         depth 3 (edge)   0.25  2    3    1.25  8 2 2 7             8
2      2.0  1.5  1.0  0.005       stays            4     3    2    0.5   1 1 1 7             7
3      1.0  1.2  0.6  0.6         stays (a tie)    2     0.75 1    1     1 1 1 7             1
4      3.0  1.0  2.0  2.25        depth 2          2     1.5  0.5  0.75  1 7 1 7             1
"""

import numpy as np

from empirical.traces.files import Traces
from tests.empirical.synthetic import traces_from

ENTROPY = [
    [1.0, 0.8, 0.5, 0.9],
    [0.2, 0.4, 0.7, 1.0],
    [2.0, 1.5, 1.0, 0.005],
    [1.0, 1.2, 0.6, 0.6],
    [3.0, 1.0, 2.0, 2.25],
]
LOG_LOSS = [
    [3.0, 2.0, 1.0, 0.5],
    [0.25, 2.0, 3.0, 1.25],
    [4.0, 3.0, 2.0, 0.5],
    [2.0, 0.75, 1.0, 1.0],
    [2.0, 1.5, 0.5, 0.75],
]
TOP1 = [[1, 1, 7, 7], [8, 2, 2, 7], [1, 1, 1, 7], [1, 1, 1, 7], [1, 7, 1, 7]]
TOKEN = [7, 8, 7, 1, 1]
PROMPT = [0, 0, 0, 1, 1]
DIFFICULTY = [2, 2, 2, 4, 4]

CLOSE = 1e-6
"""Traces hold single precision: 24 bits of values below 4."""


def tiny() -> Traces:
    """The five tokens as traces."""
    return traces_from(ENTROPY, -np.array(LOG_LOSS), TOP1, TOKEN, PROMPT, DIFFICULTY)
