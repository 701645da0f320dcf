"""The head as a GPU kernel with entropy in its epilogue (Triton comes with torch for CUDA).

    x (n, hidden) -> logits, and the sums that entropies are made of

*project* (`empirical.logits.kernels.project`): persistent thread blocks walk over tiles of the
vocabulary, `W[tile] x'` in float32, keep the three sums of `empirical.logits.sums` in registers
and write one partial each, and, where asked for, the logits in the model's precision. Without a
look from the host in between, so that a step may be captured as a CUDA graph.

Nothing here imports Triton; `empirical.logits.kernels.capability` says whether the kernels work on
a device, by running them.
"""
