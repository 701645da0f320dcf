"""Is there anything to gain from earlier layers at all? Pools of the last layers, held out.

- `data`: the head's inputs of the last layers, and what each layer says at its own temperature.
- `linear`: weighted means of the layers' distributions, weights global or from the entropies.
- `inputs`: log-linear pools and low-rank corrections, trained through the head.
- `results`: what is asked and said, readable without torch.
- `study`: all of them on prompts that trained none, beside the final layer alone and hindsight.
"""

from empirical.studies.pools.results import Pools, Row, Settings

__all__ = ["Pools", "Row", "Settings"]
