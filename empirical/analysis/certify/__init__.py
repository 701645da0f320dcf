"""The most aggressive setting whose cost is certified, without any assumption on the model.

`certify_risk` chooses how much of the final layer a decoder must keep, so that its expected excess
over plain decoding is at most `alpha` with probability `1 - delta`; `exchange` asks whether new
prompts look like those that it was chosen on.
"""

from empirical.analysis.certify.core import GRID, RiskCertificate, Setting, certify_risk
from empirical.analysis.certify.exchange import Exchange, exchange

__all__ = ["GRID", "Exchange", "RiskCertificate", "Setting", "certify_risk", "exchange"]
