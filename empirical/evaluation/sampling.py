"""Sampled texts that do not depend on their batch, and two decoders that share their luck.

Adding independent Gumbel noise to `z / T` and taking the largest draws a token from `softmax(z /
T)` (Gumbel 1954; Maddison et al. 2014). The noise of a text is keyed by (seed, problem, step), so a
text is the same alone and in any batch. And two decoders that answer one problem see the same
noise: they differ where their distributions do, which makes their comparison sharper without
changing what either of them writes on average (common random numbers).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stopping.errors import UserError
from stopping.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor


class SeededDraws:
    """A logits processor of transformers: greedy search after it is sampling.

    Parameters
    ----------
    problems : sequence of int
        Which problem each row answers.
    start : int
        Length of the (padded) prompts.
    temperature, seed
        `T > 0`, and the seed of the draws.
    """

    def __init__(self, problems: Sequence[int], start: int, temperature: float, seed: int) -> None:
        if not (np.isfinite(temperature) and temperature > 0):
            raise UserError(f"temperature: must be positive, got {temperature}")
        self._problems, self._start = problems, start
        self._temperature, self._seed = temperature, seed

    def __call__(self, input_ids: "Tensor", scores: "Tensor") -> "Tensor":
        """Return `z / T` plus the noise of this step."""
        import torch

        step = input_ids.shape[1] - self._start
        noise = np.stack([self.noise(problem, step, scores.shape[1]) for problem in self._problems])
        return scores / self._temperature + torch.from_numpy(noise).to(scores)

    def noise(self, problem: int, step: int, entries: int) -> FloatArray:
        """Gumbel noise of one row at one step, shape (entries,)."""
        # The last part of the counter keeps these draws apart from those of randomised rules.
        generator = np.random.Generator(
            np.random.Philox(key=self._seed, counter=[0, step + 1, problem + 1, 1])
        )
        return generator.gumbel(size=entries)
