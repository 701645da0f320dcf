"""From logits to the statistics of a layer: sums, readouts, kernels."""
