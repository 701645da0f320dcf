"""Confident Decoding inside `model.generate` of transformers (needs the extra `models`).

At every position the decoder reads the last `K + 1` layers through a lens, hands their entropies
`x` to a rule of `stopping.rules`, and puts the logits of the layer that the rule chooses in the
place of the final layer's. All layers still run and the key-value cache is untouched; what changes
is which of the model's own distributions the next token is drawn from.

    with ConfidentDecoding(model, rule=Search(K=10)) as decoding:
        output = model.generate(**inputs, max_new_tokens=200)
    steps = decoding.statistics

`generate` stays with transformers. A hook on the model rewrites the logits that a forward pass
returns, and whoever reads them (greedy search, sampling, beams, streamers, speculation, a plain
forward pass) sees the chosen layer's. What holds, each tested:

- with `Final()`, `p = 0` or `K = 0` the logits and tokens are those of plain `generate`, bit by
  bit;
- the logits that come out are, bit by bit, the numbers whose entropy was compared, rounded to the
  model's precision; entropies are taken before rounding, and are right to 5e-6 nats;
- a row's choice depends on that row alone, not on its batch nor on padding, up to the rounding
  with which the model's own matrix products depend on the shape of a batch;
- a randomised rule draws from a counter-based generator of (seed, position, token): the same
  prefix and seed fall the same way in any batch, with or without a cache or an assistant;
- layers are projected together where that is free (see `empirical.decoding.plan`): what is chosen
  and recorded is the same, up to the rounding of products of another shape;
- beyond the model's own memory a forward pass holds the logits of at most two more layers, or
  32 MB (128 MB on a GPU) if that is more, however large the window;
- logits that hold NaN are an error, not a choice.
"""

from empirical.decoding.decoding import ConfidentDecoding
from empirical.decoding.steps import Steps, Summary

__all__ = ["ConfidentDecoding", "Steps", "Summary"]
