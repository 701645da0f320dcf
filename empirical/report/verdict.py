"""The two answers that a reader wants, as pure functions of an audit and a validation.

**Does the guarantee apply to this model?** T2 says that the search's excess of entropy is at most
`2 eps_max`. That it is an excess of log-loss as well needs more than A0, which speaks of each layer
on its own, while the search chooses its layer by what it reads. For any rule

    E[loss_V - loss_L] = -E[x_L - x_V] + E gap_V - E gap_L,      gap_l = loss_l - x_l,

and the search only steps to lower entropies, so what it may lose against the final layer is its own
gap net of the final layer's, `E gap_V - E gap_L` (C1). That is measured. What protects it by
theorem is C2: it loses at most `kappa`, by which a layer's log-loss may exceed its entropy, net of
the final layer's, given that it reads less than the final one. The guarantee is

- *not for this model* if the audit refutes one of A0 to A4, or the search's own gap is material;
- *too weak to matter* if nothing is refuted but the noise level that explains nine tokens in ten
  allows an excess of `MATERIAL` nats or more, or `kappa` is as large for certain;
- *undecided* if both bounds are small enough, and A0, the search's own gap or `kappa` is not
  settled;
- *applies* otherwise: nothing is refuted, the search's own gap is immaterial, and so are both
  bounds, `kappa` at the largest value that the tokens leave possible.
  A1 to A4 speak of latent quantities, so they can be refuted but never proved; this is the most
  that traces can say.

**Should Confident Decoding be switched on?** What counts is the log-loss of the reference answers
against the final layer's, at a level adjusted for the number of rules compared:

- *yes*, with the best such rule, if a rule's interval lies below zero by more than what is material
  and its accuracy is not worse (its 95 % interval not wholly below zero);
- *it harms* if no rule qualifies and the paper's search lies above zero by more than that;
- *no evidence* otherwise;
- *cannot say* without reference answers: on the model's own text the final layer is right by
  construction.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from empirical.analysis.audit import Audit, NoiseLevel, Status, at_most
from empirical.analysis.validate import Comparison, Row, Validation
from empirical.numbers import GAP, general, interval, number, quantity
from empirical.report.explanation import SEARCH as SEARCH
from empirical.report.explanation import explain
from stopping.support.statistics import Interval

MATERIAL = 0.1
"""A loss in nats that matters: it multiplies the perplexity by 1.105."""
COVERED_SHARE = 0.9
"""The guarantee is judged at the least noise level that explains this share of the tokens (T9)."""
COVERED = "nine tokens in ten"


class Guarantee(StrEnum):
    """Whether T2 says something about this model."""

    APPLIES = "applies"
    TOO_WEAK = "too weak to matter"
    REFUTED = "does not apply"
    UNDECIDED = "undecided"

    @property
    def short(self) -> str:
        """Answer to "does the guarantee apply?"."""
        return {Guarantee.APPLIES: "Yes", Guarantee.REFUTED: "No"}.get(self, self.capitalize())

    @property
    def brief(self) -> str:
        """The same in a word or two, for a table."""
        return "too weak" if self is Guarantee.TOO_WEAK else self.short.lower()


class Answer(StrEnum):
    """Whether the search, or a rule of its kind, should be used on this model."""

    YES = "yes"
    HARMS = "no, it harms"
    NO_EVIDENCE = "no, there is no evidence of a gain"
    CANNOT_SAY = "cannot say"

    @property
    def brief(self) -> str:
        """The same in a word or two, for a table."""
        short = {Answer.HARMS: "no, it harms", Answer.NO_EVIDENCE: "no evidence"}
        return short.get(self, self.value)


@dataclass(frozen=True)
class KeyNumber:
    """A number that decides, with its interval; differences are to the final layer."""

    label: str
    value: Interval
    unit: Literal["nats", "share", "points"]

    @property
    def text(self) -> str:
        """The number with its unit; differences, which all but shares are, carry a sign."""
        unit = f"{GAP}nats" if self.unit == "nats" else ""
        return quantity(self.value, self.unit, signed=self.unit != "share") + unit


@dataclass(frozen=True)
class ModelVerdict:
    """Both answers in plain words.

    Attributes
    ----------
    guarantee, guarantee_why
        Whether T2 applies, and one sentence made of numbers.
    answer, answer_why
        Whether to switch it on, and one sentence made of numbers.
    rule : str or None
        Spec of the recommended rule where the answer is yes.
    headline : str
        The answer as a short sentence.
    deciding : tuple of KeyNumber
        The numbers that decide.
    explanation : tuple of str
        Why the numbers are as they are: only what the intervals bear out.
    """

    guarantee: Guarantee
    guarantee_why: str
    answer: Answer
    answer_why: str
    rule: str | None
    headline: str
    deciding: tuple[KeyNumber, ...]
    explanation: tuple[str, ...]


def judge(audit: Audit, validation: Validation | None, lens: str) -> ModelVerdict:
    """Answer both questions; `validation` is None where no reference answers were traced."""
    guarantee, guarantee_why = judge_guarantee(audit, validation)
    answer, row, answer_why = judge_switch(validation)
    return ModelVerdict(
        guarantee=guarantee,
        guarantee_why=guarantee_why,
        answer=answer,
        answer_why=answer_why,
        rule=None if row is None else row.spec,
        headline=headline(answer, row, lens),
        deciding=deciding(audit, validation, row),
        explanation=() if validation is None else explain(audit, validation),
    )


def judge_guarantee(audit: Audit, validation: Validation | None) -> tuple[Guarantee, str]:
    """Whether T2 says something about this model, and why."""
    level_90 = covering_level(audit)
    bound = (
        f"the noise that explains {COVERED} is eps_max = {number(level_90.eps_max)} nats, so the "
        f"guarantee allows an excess of {number(level_90.bound)} nats"
    )
    refuted = [v for v in audit.verdicts if v.status is Status.FAILS]
    if refuted:
        labels = " and ".join(", ".join(v.assumption for v in refuted).rsplit(", ", 1))
        verb = "fails" if len(refuted) == 1 else "fail"
        return Guarantee.REFUTED, f"{labels} {verb}: {refuted[0].sentence}; and {bound}"
    status, own = search_gap(audit, validation)
    if status is Status.FAILS:
        return (
            Guarantee.REFUTED,
            f"the search chooses layers that promise too little: {own}. No layer on its own shows "
            "it, but a lower entropy is no lower log-loss here",
        )
    if level_90.bound >= MATERIAL:
        return Guarantee.TOO_WEAK, f"{bound}, and {number(MATERIAL)} nats already matter"
    given = audit.given_reading
    if given.verdict.status is Status.FAILS and given.kappa.low >= MATERIAL:
        return (
            Guarantee.TOO_WEAK,
            f"{bound}, but log-loss may exceed entropy by more: {given.verdict.sentence}",
        )
    calibration = audit.calibration.verdict
    if calibration.status is not Status.HOLDS:
        return Guarantee.UNDECIDED, f"A0 is not settled: {calibration.sentence}"
    if status is Status.UNDECIDED:
        return Guarantee.UNDECIDED, f"A0 holds, but the search's own gap is not settled: {own}"
    if not given.at_most < MATERIAL:
        return Guarantee.UNDECIDED, f"C2 is not settled: {given.verdict.sentence}; and {bound}"
    return (
        Guarantee.APPLIES,
        f"A0 holds, no assumption is refuted, {own}, and {bound}; in log-loss it may "
        f"lose {number(given.at_most)} nats against the final layer (C2)",
    )


def search_gap(audit: Audit, validation: Validation | None) -> tuple[Status, str]:
    """Whether the search's own gap, net of the final layer's, is immaterial; and how large it is.

    It may be negative: then the search pays less than its entropies promise, and loses nothing.
    """
    material = audit.calibration.materiality
    if validation is None or validation.reference_is_own_text:
        return Status.UNDECIDED, "without reference answers nobody knows what it pays"
    gap = validation[SEARCH].overall.optimism_vs_final
    return (
        at_most(gap, material),
        f"where it stops, log-loss exceeds entropy by {interval(gap, signed=True)} nats more than "
        f"at the final layer (immaterial: up to {number(material)})",
    )


def judge_switch(validation: Validation | None) -> tuple[Answer, Row | None, str]:
    """Whether to switch it on, with which rule, and why."""
    if validation is None or validation.reference_is_own_text:
        return (
            Answer.CANNOT_SAY,
            None,
            "no reference answers were traced, and on the model's own text the final layer is "
            "right by construction; trace with --mode reference",
        )
    material = f"{general(validation.material)} nats"
    rules, plainest = validation.compared - len(validation.rivals), rival(validation)
    gains = [row for row in validation.rows if qualifies(row)]
    if gains:
        best = min(gains, key=lambda row: row.overall.log_loss_vs_final.estimate)
        return (
            Answer.YES,
            best,
            f"{best.name} predicts better than the final layer by more than {material} and is not "
            f"less accurate, as do {len(gains)} of the {rules} rules in all{plainest}",
        )
    none = f"none of the {rules} rules predicts better than the final layer by more than {material}"
    if validation[SEARCH].comparison is Comparison.WORSE:
        return (
            Answer.HARMS,
            None,
            f"the search predicts worse than the final layer, and {none}{plainest}",
        )
    return (
        Answer.NO_EVIDENCE,
        None,
        f"{none} without being less accurate, and the search is not shown to be worse{plainest}",
    )


def rival(validation: Validation) -> str:
    """Say what the final layer alone wins by a temperature of its own, where the traces tell."""
    if not validation.rivals:
        return ""
    found = validation.rivals[-1].overall.log_loss_vs_final
    return (
        "; the final layer alone, at a temperature fitted on other prompts, changes log-loss by "
        f"{interval(found, signed=True)} nats"
    )


def qualifies(row: Row) -> bool:
    """Whether a rule beats the final layer: lower log-loss, and accuracy that is not worse."""
    return row.comparison is Comparison.BETTER and not row.overall.accuracy_vs_final.high < 0


def headline(answer: Answer, row: Row | None, lens: str) -> str:
    """Return the answer as a short sentence."""
    if answer is Answer.YES and row is not None:
        return f"Yes, with the rule “{row.name}”"
    if answer is Answer.CANNOT_SAY:
        return "Cannot say from these traces"
    return f"No, not with the {lens_kind(lens)} lens"


def lens_kind(lens: str) -> str:
    """Kind of a lens, such as raw: a calibrated one is named by kind, target and fingerprint."""
    return lens.partition(",")[0]


def deciding(
    audit: Audit, validation: Validation | None, recommended: Row | None
) -> tuple[KeyNumber, ...]:
    """Return the numbers to show beside the answer, those of the recommended rule first."""
    leaves = KeyNumber("Tokens that the search moves", audit.statistics["leaves"].ours, "share")
    if validation is None:
        return (leaves,)
    rows = [validation[SEARCH]]
    if recommended is not None and recommended.name != SEARCH:
        rows.insert(0, recommended)
    differences = [
        found
        for row in rows
        if row.decisive is not None
        for found in (
            KeyNumber(
                f"Log-loss, {row.name} minus final layer", row.overall.log_loss_vs_final, "nats"
            ),
            KeyNumber(
                f"Accuracy, {row.name} minus final layer", row.overall.accuracy_vs_final, "points"
            ),
        )
    ]
    gaps = (
        KeyNumber(
            "Log-loss minus entropy, mean of the window (A0: zero)",
            audit.calibration.window_gap,
            "nats",
        ),
        KeyNumber(
            "The same where the search stops, above the final layer’s",
            validation[SEARCH].overall.optimism_vs_final,
            "nats",
        ),
    )
    return (*differences, leaves, *gaps)


def covering_level(audit: Audit) -> NoiseLevel:
    """Return the noise level at which the guarantee is judged."""
    eps_max = audit.noise.overall.quantile(COVERED_SHARE)
    return next(found for found in audit.noise.levels if found.eps_max == eps_max)
