"""What was found of claims and of their negative controls, and how it is said."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stopping.simulation.montecarlo import Estimate, Relation, Verdict
from stopping.support.results import Report, Result

ROUNDING = 1e-12
"""Where values are of the order of one, nothing below it is more than rounding."""


@dataclass(frozen=True)
class Finding:
    """What `check` found of a claim and of its negative control."""

    label: str
    name: str
    statement: str
    relation: Relation
    bound: float
    verdict: Verdict
    estimate: Estimate
    control: str
    control_bound: float
    control_verdict: Verdict
    control_estimate: Estimate

    @property
    def sound(self) -> bool:
        """The claim holds and the check rejects the negative control."""
        return self.verdict is Verdict.HOLDS and self.control_verdict is Verdict.VIOLATED

    @property
    def undecided(self) -> bool:
        """More draws are needed: nothing speaks against the claim or its negative control."""
        open_ = Verdict.UNDECIDED in (self.verdict, self.control_verdict)
        wrong = self.verdict is Verdict.VIOLATED or self.control_verdict is Verdict.HOLDS
        return open_ and not wrong

    @property
    def open_draws(self) -> tuple[int, ...]:
        """Draws of what is undecided: of the claim, of its negative control, or of both."""
        sides = (self.verdict, self.estimate), (self.control_verdict, self.control_estimate)
        return tuple(found.n for verdict, found in sides if verdict is Verdict.UNDECIDED)

    @property
    def greatest(self) -> str:
        """Largest draw, in so many digits that rounding does not lift it to a strict bound.

        Of a draw that is rounding itself, and another on the next processor, only that is said.
        """
        value = self.estimate.greatest
        if 0 < abs(value) < ROUNDING:
            return f"below {ROUNDING:.0e}"
        if self.relation is Relation.ALWAYS_BELOW and value < self.bound:
            texts = (f"{value:.{digits}g}" for digits in range(4, 18))
            return next(text for text in texts if float(text) < self.bound)
        return f"{value:.4g}"

    @property
    def found(self) -> str:
        """Largest draw for a claim about every draw, mean and standard error for one on means."""
        if self.relation in (Relation.ALWAYS_AT_MOST, Relation.ALWAYS_BELOW):
            return f"max {self.greatest}"
        return f"{self.estimate.mean:.4f} ± {self.estimate.stderr:.4f}"


class Findings(Result, tuple[Finding, ...]):
    """Findings in the order of their claims."""

    __slots__ = ()

    @property
    def draws(self) -> int:
        """All draws, of claims and of controls."""
        return sum(f.estimate.n + f.control_estimate.n for f in self)

    def items(self) -> Iterable[Finding]:
        """Claims."""
        return self

    def report(self) -> Report:
        """The table, the tally, and what is not sound."""
        from rich.text import Text

        from stopping.support.tables import status_text, table

        rows = table("Claims", "claim", "statement", "bound", "found", "verdict", "control")
        rows.columns[1].justify = "left"
        for finding in self:
            rows.add_row(
                finding.name,
                Text(finding.statement),
                f"{finding.bound:.4g}",
                finding.found,
                status_text(finding.verdict),
                Text("rejected" if finding.control_verdict is Verdict.VIOLATED else "NOT rejected"),
            )
        yield rows
        yield tally(self)
        for finding in self:
            if not finding.sound:
                control = f"control ({finding.control}): {finding.control_verdict}"
                yield f"{finding.name}: {finding.verdict}; {control}"


def tally(findings: Sequence[Finding]) -> str:
    """Say in a sentence how many claims hold, and apart from each other what else was found.

    What is undecided is said with the draws that did not settle it, and apart from a claim that is
    violated, or whose negative control passes: such a check proves nothing.
    """
    sound = sum(finding.sound for finding in findings)
    controls = "with their negative controls rejected"
    if sound == len(findings):
        return f"All {sound} claims hold, {controls}."
    open_ = [finding for finding in findings if finding.undecided]
    violated = [finding for finding in findings if finding.verdict is Verdict.VIOLATED]
    passed = [f for f in findings if f.control_verdict is Verdict.HOLDS and f not in violated]
    text = [f"{sound} of {len(findings)} claims hold, {controls}"]
    if open_:
        most = max(max(finding.open_draws) for finding in open_)
        text.append(f"{len(open_)} undecided after up to {most:,} draws ({_names(open_)})")
    text.append(f"{len(violated)} violated ({_names(violated)})" if violated else "none violated")
    if passed:
        text.append(f"{len(passed)} whose negative control passes ({_names(passed)})")
    return "; ".join(text) + "."


def _names(findings: Sequence[Finding]) -> str:
    return ", ".join(finding.name for finding in findings)
