"""Layer selection in LLM decoding as an optimal stopping problem: theory and simulation.

The main names stand here; each is imported when it is touched. `stopping.theory` is the table of
theorems, `stopping.rules` has every rule, `stopping.testing` the conformance suite.

    import stopping
    process = stopping.Process(layers=12, noise=stopping.UniformNoise(0.3), K=10, perturbed=0.5)
    paths = process.sample(np.random.default_rng(0), 1000)
    chosen = stopping.Search(K=10).choose(paths.x)
    stopping.excess_bound(0.3)
"""

from typing import TYPE_CHECKING

from stopping.support.lazy import lazily

if TYPE_CHECKING:
    from stopping.changepoint import ChangePointModel as ChangePointModel
    from stopping.changepoint import read_model as read_model
    from stopping.claims import CLAIMS as CLAIMS
    from stopping.claims import check as check
    from stopping.errors import UserError as UserError
    from stopping.model.noise import GaussianNoise as GaussianNoise
    from stopping.model.noise import UniformNoise as UniformNoise
    from stopping.model.paths import Paths as Paths
    from stopping.model.process import Process as Process
    from stopping.optimal.comparison import compare_rules as compare_rules
    from stopping.rules import AbstractRule as AbstractRule
    from stopping.rules import Final as Final
    from stopping.rules import Guarded as Guarded
    from stopping.rules import Hedged as Hedged
    from stopping.rules import Minimax as Minimax
    from stopping.rules import Search as Search
    from stopping.rules import Tolerance as Tolerance
    from stopping.rules import parse_rule as parse_rule
    from stopping.rules import zoo as zoo
    from stopping.simulation.engine import simulate as simulate
    from stopping.theory.averages import average_case as average_case
    from stopping.theory.bounds import containment_margin as containment_margin
    from stopping.theory.bounds import excess_bound as excess_bound
    from stopping.theory.bounds import overshoot_bound as overshoot_bound
    from stopping.theory.certificates import certify as certify
    from stopping.theory.exact import stopping_distribution as stopping_distribution
    from stopping.theory.identification import identify as identify

_HOMES = {
    "AbstractRule": "stopping.rules",
    "CLAIMS": "stopping.claims",
    "ChangePointModel": "stopping.changepoint",
    "Final": "stopping.rules",
    "GaussianNoise": "stopping.model.noise",
    "Guarded": "stopping.rules",
    "Hedged": "stopping.rules",
    "Minimax": "stopping.rules",
    "Paths": "stopping.model.paths",
    "Process": "stopping.model.process",
    "Search": "stopping.rules",
    "Tolerance": "stopping.rules",
    "UniformNoise": "stopping.model.noise",
    "UserError": "stopping.errors",
    "average_case": "stopping.theory.averages",
    "certify": "stopping.theory.certificates",
    "check": "stopping.claims",
    "compare_rules": "stopping.optimal.comparison",
    "containment_margin": "stopping.theory.bounds",
    "identify": "stopping.theory.identification",
    "overshoot_bound": "stopping.theory.bounds",
    "parse_rule": "stopping.rules",
    "read_model": "stopping.changepoint",
    "excess_bound": "stopping.theory.bounds",
    "simulate": "stopping.simulation.engine",
    "stopping_distribution": "stopping.theory.exact",
    "zoo": "stopping.rules",
}

__getattr__, __dir__, __all__ = lazily(__name__, _HOMES)
