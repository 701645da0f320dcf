r"""A fast simulator: every rule of the zoo on the same trajectories, layer by layer in the cache.

`Process.sample` draws tokens as rows of float64 and each rule scans them anew; that is plain, and
bound by memory. The engine simulates the same model (a `Process` with constant drifts and uniform
or Gaussian noise) with the same rules, faster by an order of magnitude, for four reasons:

- **It draws only what is needed**: the noise of layers that some rule reads, rises where the token
  lies beyond its turning point. How many tokens of a block turn at each layer is one multinomial
  draw, and tokens of one `V*` are simulated together: so `G` is one number for each layer, and no
  token has to be asked where it turned.
- **It works layer by layer** (float32, one row per layer, up to 16,384 tokens in a row), in buffers
  that are reused and stay in the cache; memory does not depend on the number of tokens.
- **A rule is a nested family of flags** "goes back `j` layers or more", j = 1..K, each row one or
  two passes over bytes. Rules share the rows they have in common, and a scan ends with its last
  token.
- **Counts are enough** where the excess depends on `V*` and the chosen layer alone: its moments and
  histogram follow from the counts of flags, exactly. Values are gathered only for tokens that are
  stopped above `V*`, if rises are random.

Tokens are drawn in blocks of 262,144, each with the stream of `SFC64` that the seed and the block's
number give, and merged in order: results are the same bit for bit for any number of workers.

Comparisons are those of float32. Two values that are equal in float32 though not in the model
are a tie that stops a scan: for entropies of a few nats this has a probability of about 1e-6 per
step, far below a standard error.
"""

from stopping.simulation.engine.results import RuleStatistics, Simulation
from stopping.simulation.engine.simulate import count_blocks, simulate

__all__ = ["RuleStatistics", "Simulation", "count_blocks", "simulate"]
