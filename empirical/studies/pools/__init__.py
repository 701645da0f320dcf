"""Is there anything to gain from earlier layers at all? Pools of the last layers, held out.

- `data`: the head's inputs of the last layers, and what each layer says at its own temperature.
- `linear`: weighted means of the layers' distributions, weights global or from the entropies.
- `inputs`: log-linear pools and low-rank corrections, trained through the head.
- `study`: all of them on prompts that trained none, beside the final layer alone and hindsight.
"""

from empirical.studies.pools.study import Parts, Pools, Row, Settings, pool

__all__ = ["Parts", "Pools", "Row", "Settings", "pool"]
