"""The head as a GPU kernel with entropy in its epilogue (Triton comes with torch for CUDA).

    x (layers, batch, hidden) -> logits of the chosen layer, its number, entropies, best token

in two launches, without a look from the host in between, so that a step may be captured as a CUDA
graph:

1. *project* (`empirical.logits.kernels.project`): persistent thread blocks walk over tiles of the
   vocabulary, `W[tile] x'` in float32, keep the three sums of `empirical.logits.sums` in registers
   and write one partial each, and, where asked for, the logits in the model's precision;
2. *choose* (`empirical.logits.kernels.choose`): merges the partials of each row in a fixed order,
   takes the entropies, runs the backward scan and copies the logits of the layer where it stops.

With `first` layers in one go and the rest for the rows that go on there are two such pairs and a
small kernel between them that numbers those rows; blocks without a row return at once.

Nothing here imports Triton; `empirical.logits.kernels.capability` says whether the kernels work on
a device, by running them.
"""
