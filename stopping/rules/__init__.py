"""Every rule behind one interface: entropies `(n, layers)` in, layer indices `(n,)` out."""

from stopping.rules.admissible import Guarded, Hedged, HedgedMinimax, Minimax
from stopping.rules.base import AbstractRule
from stopping.rules.catalogue import parse_rule, zoo
from stopping.rules.fixed import Final, FixedOffset, ForwardExit, WindowMinimum
from stopping.rules.scan import Patience, Search, Shifted, Tolerance, printed_formula

__all__ = [
    "AbstractRule",
    "Final",
    "FixedOffset",
    "ForwardExit",
    "Guarded",
    "Hedged",
    "HedgedMinimax",
    "Minimax",
    "Patience",
    "Search",
    "Shifted",
    "Tolerance",
    "WindowMinimum",
    "parse_rule",
    "printed_formula",
    "zoo",
]
