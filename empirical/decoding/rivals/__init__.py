"""Decoders on logits beside the rules: pools, DoLa, SLED, a CALM-style exit, the released score.

Each is a pure function of the logits of a window of layers, and runs in the same hook and the same
commands as the rules (needs the extra `models`). Fixed offsets (`offset`), the window's minimum
(`minimum`) and the exit on entropies (`forward`) are rules and stand in `stopping.rules`.
"""

from empirical.decoding.rivals.base import AbstractContrast, AbstractRival, AbstractSelection
from empirical.decoding.rivals.calm import Calm
from empirical.decoding.rivals.catalogue import Decoder, decoder_of, parse_decoder
from empirical.decoding.rivals.dola import DoLa
from empirical.decoding.rivals.mix import Mix
from empirical.decoding.rivals.released import ReleasedScore
from empirical.decoding.rivals.sled import SLED
from empirical.decoding.rivals.unnormed import UnnormedLens

__all__ = [
    "SLED",
    "AbstractContrast",
    "AbstractRival",
    "AbstractSelection",
    "Calm",
    "Decoder",
    "DoLa",
    "Mix",
    "ReleasedScore",
    "UnnormedLens",
    "decoder_of",
    "parse_decoder",
]
