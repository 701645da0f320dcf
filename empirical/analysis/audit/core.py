"""The whole audit: A0 to A4, C2, the paper's token statistics, and what T2 guarantees here."""

from dataclasses import dataclass

from empirical.analysis.audit.calibration import MATERIALITY, Calibration, audit_calibration
from empirical.analysis.audit.given_reading import GivenReading, audit_given_reading
from empirical.analysis.audit.noise import Noise, audit_noise
from empirical.analysis.audit.tokens import TokenStatistics, token_statistics
from empirical.analysis.audit.verdicts import TOLERATED, Status, Verdict
from empirical.analysis.audit.window import Window, audit_window
from empirical.traces.files import Traces
from empirical.traces.window import take_sample
from stopping.errors import UserError
from stopping.support.results import Report, Result

NOISE_CEILING = 0.25
"""Noise level of the verdicts, nats: T2 then guarantees half a nat."""


@dataclass(frozen=True)
class Audit(Result):
    """How far A0 to A4 hold on the tokens of one set of traces.

    Attributes
    ----------
    model, prompts, tokens, K, seed, replicates
        What was audited, and how intervals were drawn.
    reference_is_own_text : bool
        The reference tokens are the model's own greedy choices: A0 cannot be judged.
    statistics : TokenStatistics
        The paper's figures and these tokens', side by side.
    """

    model: str
    prompts: int
    tokens: int
    K: int
    seed: int
    replicates: int
    reference_is_own_text: bool
    statistics: TokenStatistics
    calibration: Calibration
    given_reading: GivenReading
    noise: Noise
    window: Window

    def items(self) -> tuple[Verdict, ...]:
        """Assumptions."""
        return self.verdicts

    def report(self, name: str = "", brief: bool = False) -> Report:
        """Tables and a summary; verdicts and summary alone if `brief`. `name` is the file's."""
        from empirical.analysis.audit.tables import report

        return report(self, name, brief)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """A0 to A4, in this order."""
        return (self.calibration.verdict, *self.noise.verdicts, self.window.verdict)

    def count(self, status: Status) -> int:
        """Number of assumptions with this status."""
        return sum(verdict.status is status for verdict in self.verdicts)


def audit(
    traces: Traces,
    K: int = 10,
    seed: int = 0,
    replicates: int = 1000,
    materiality: float = MATERIALITY,
    noise_ceiling: float = NOISE_CEILING,
    tolerated: float = TOLERATED,
) -> Audit:
    """Ask of each assumption how far it holds on these tokens.

    Parameters
    ----------
    traces : Traces
        Tokens of two prompts or more.
    K : int
        Steps back that the window allows; `K + 1` traced layers are needed.
    seed, replicates : int
        Of the bootstrap over prompts.
    materiality : float
        Gap in nats up to which a layer counts as calibrated (A0).
    noise_ceiling : float
        Noise level in nats that the verdicts on A1 to A3 are about.
    tolerated : float
        Share of tokens on which A1 to A4 may break and still be said to hold.

    Raises
    ------
    UserError
        If the window reaches below the traced layers, or there are fewer than two prompts.
    """
    if not (materiality > 0 and noise_ceiling > 0 and 0 < tolerated < 1):
        raise UserError(
            "audit: materiality and noise_ceiling must be positive nats and tolerated a share "
            f"between 0 and 1, got {materiality}, {noise_ceiling}, {tolerated}"
        )
    traces.require("audit", "log_prob", "top1")
    sample = take_sample(traces, K, seed, replicates)
    noise = audit_noise(sample, noise_ceiling, tolerated)
    return Audit(
        model=traces.provenance.model,
        prompts=sample.prompts,
        tokens=len(traces),
        K=K,
        seed=seed,
        replicates=replicates,
        reference_is_own_text=sample.own_text,
        statistics=token_statistics(sample),
        calibration=audit_calibration(sample, materiality),
        given_reading=audit_given_reading(sample, materiality),
        noise=noise,
        window=audit_window(sample, tolerated, noise.verdicts),
    )
