"""Every rule behind one interface: entropies `(n, layers)` in, layer indices `(n,)` out."""

from stopping.rules.admissible import (
    Adaptive,
    Guarded,
    Hedged,
    HedgedMinimax,
    HedgedMinimum,
    Minimax,
)
from stopping.rules.base import AbstractKind, AbstractRule, choose_streams
from stopping.rules.fixed import Final, FixedOffset, ForwardExit, WindowMinimum
from stopping.rules.registry import has_window, kinds, parse, parse_rule, with_setting, zoo
from stopping.rules.scan import Patience, Search, Shifted, Tolerance, printed_formula

__all__ = [
    "AbstractKind",
    "AbstractRule",
    "Adaptive",
    "Final",
    "FixedOffset",
    "ForwardExit",
    "Guarded",
    "Hedged",
    "HedgedMinimax",
    "HedgedMinimum",
    "Minimax",
    "Patience",
    "Search",
    "Shifted",
    "Tolerance",
    "WindowMinimum",
    "choose_streams",
    "has_window",
    "kinds",
    "parse",
    "parse_rule",
    "printed_formula",
    "with_setting",
    "zoo",
]
