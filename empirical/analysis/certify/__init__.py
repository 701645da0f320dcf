"""The most aggressive setting whose cost is certified, without any assumption on the model.

`certify` chooses how much of the final layer a decoder must keep, so that its expected excess over
plain decoding is at most `alpha` with probability `1 - delta`; `exchange` asks whether new prompts
look like those that it was chosen on.
"""

from empirical.analysis.certify.core import GRID, Certificate, Setting, certify
from empirical.analysis.certify.exchange import Exchange, exchange

__all__ = ["GRID", "Certificate", "Exchange", "Setting", "certify", "exchange"]
