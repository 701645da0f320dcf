"""A positive control: a model made so that the search cures it, and one that it does not cure.

No public model within reach shows a late perturbation that the search cures, so nobody could see
that the instruments would say yes. `perturbed` makes such a model from any other, and `run_control`
turns its dial from 0 up while the whole chain (trace, audit, fit, validate, verdict, certify,
evaluate) looks at it without knowing.

- `design`, `results`, `tables`: what is asked and said, readable without torch.
- `write`: the perturbed model; `run`: the chain.
"""

from empirical.studies.control.design import Design, Shape
from empirical.studies.control.results import Control, Solved, Step

__all__ = ["Control", "Design", "Shape", "Solved", "Step"]
