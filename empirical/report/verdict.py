"""The two answers that a reader wants, as pure functions of an audit and a validation.

**Does the guarantee apply to this model?** T2 says that the search loses at most `2 eps_max`. It is

- *not for this model* if the audit refutes an assumption: with A0 refuted, entropy is not the
  loss that matters; with one of A1 to A4 refuted, the theorem has no premise;
- *too weak to matter* if nothing is refuted but the noise level that explains nine tokens in ten
  allows a loss of `MATERIAL` nats or more;
- *undecided* if the bound is small enough and A0 is not settled;
- *applies* otherwise: A0 holds, nothing is refuted, and the bound is immaterial. A1 to A4 speak of
  latent quantities, so they can be refuted but never proved; this is the most that traces can say.

**Should Confident Decoding be switched on?** What counts is the log-loss of the reference answers
against the final layer's, at a level adjusted for the number of rules compared:

- *yes*, with the best such rule, if a rule's difference lies below zero and its accuracy is not
  worse (its 95 % interval not wholly below zero);
- *it harms* if no rule qualifies and the paper's search lies above zero;
- *no evidence* otherwise;
- *cannot say* without reference answers: on the model's own text the final layer is right by
  construction.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from empirical.audit import Audit, NoiseLevel, Status
from empirical.report.numbers import GAP, interval, number, percent, quantity
from empirical.validate import Comparison, Row, Validation
from stopping.statistics import Interval

MATERIAL = 0.1
"""A loss in nats that matters: it multiplies the perplexity by 1.105."""
COVERED_SHARE = 0.9
"""The guarantee is judged at the least noise level that explains this share of the tokens (T9)."""
COVERED = "nine tokens in ten"
SEARCH = "search"


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


class Answer(StrEnum):
    """Whether the search, or a rule of its kind, should be used on this model."""

    YES = "yes"
    HARMS = "no, it harms"
    NO_EVIDENCE = "no, there is no evidence of a gain"
    CANNOT_SAY = "cannot say"


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
    guarantee, guarantee_why = judge_guarantee(audit)
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


def judge_guarantee(audit: Audit) -> tuple[Guarantee, str]:
    """Whether T2 says something about this model, and why."""
    level_90 = covering_level(audit)
    broken = [v for v in audit.verdicts if v.status is Status.FAILS]
    bound = (
        f"the noise that explains {COVERED} is eps_max = {number(level_90.eps_max)} nats, so the "
        f"guarantee allows a loss of {number(level_90.bound)} nats"
    )
    if broken:
        first = broken[0]
        labels = " and ".join(", ".join(v.assumption for v in broken).rsplit(", ", 1))
        verb = "fails" if len(broken) == 1 else "fail"
        return Guarantee.REFUTED, f"{labels} {verb}: {first.sentence}; and {bound}"
    if level_90.bound >= MATERIAL:
        return Guarantee.TOO_WEAK, f"{bound}, and {number(MATERIAL)} nats already matter"
    calibration = audit.calibration.verdict
    if calibration.status is not Status.HOLDS:
        return Guarantee.UNDECIDED, f"A0 is not settled: {calibration.sentence}"
    return Guarantee.APPLIES, f"A0 holds, no assumption is refuted, and {bound}"


def judge_switch(validation: Validation | None) -> tuple[Answer, Row | None, str]:
    """Whether to switch it on, with which rule, and why."""
    if validation is None or validation.reference_is_own_text:
        return (
            Answer.CANNOT_SAY,
            None,
            "no reference answers were traced, and on the model's own text the final layer is "
            "right by construction; trace with --mode reference",
        )
    gains = [row for row in validation.rows if qualifies(row)]
    if gains:
        best = min(gains, key=lambda row: row.overall.log_loss_vs_final.estimate)
        return (
            Answer.YES,
            best,
            f"{best.name} predicts better than the final layer and is not less accurate; so do "
            f"{len(gains) - 1} others of the {validation.compared} rules",
        )
    none = f"none of the {validation.compared} rules predicts better than the final layer"
    if validation[SEARCH].comparison is Comparison.WORSE:
        return Answer.HARMS, None, f"the search predicts worse than the final layer, and {none}"
    return (
        Answer.NO_EVIDENCE,
        None,
        f"{none} without being less accurate, and the search is not shown to be worse",
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
    # A calibrated lens is named by kind, target and fingerprint; the kind says it here.
    return f"No, not with the {lens.partition(',')[0]} lens"


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
            KeyNumber(f"Log-loss, {row.name} less final layer", row.decisive, "nats"),
            KeyNumber(
                f"Accuracy, {row.name} less final layer", row.overall.accuracy_vs_final, "points"
            ),
        )
    ]
    gap = KeyNumber(
        "Log-loss less entropy, mean of the window (A0: zero)",
        audit.calibration.window_gap,
        "nats",
    )
    return (*differences, leaves, gap)


def covering_level(audit: Audit) -> NoiseLevel:
    """Return the noise level at which the guarantee is judged."""
    eps_max = audit.noise.overall.quantile(COVERED_SHARE)
    return next(found for found in audit.noise.levels if found.eps_max == eps_max)


def explain(audit: Audit, validation: Validation) -> tuple[str, ...]:
    """Say why the rules win or lose, as far as the intervals bear it out."""
    return tuple(
        sentence
        for sentence in (
            _confidence(audit),
            _winners_curse(audit, validation),
            _swaps(validation),
            _hindsight(validation),
        )
        if sentence
    )


def _confidence(audit: Audit) -> str:
    gap, material = audit.calibration.window_gap, audit.calibration.materiality
    final = audit.calibration.layers[-1]
    if gap.low > material:
        return (
            "The lens is over-confident: on average over the window, a layer pays "
            f"{interval(gap)} nats more log-loss than its entropy promises (final layer: "
            f"{number(final.gap.estimate)}). Entropies of such layers are no estimates of loss."
        )
    if gap.high < -material:
        return (
            "The lens is under-confident: on average over the window, a layer pays "
            f"{number(-gap.estimate)} nats less log-loss than its entropy promises."
        )
    return ""


def _winners_curse(audit: Audit, validation: Validation) -> str:
    """What the chosen layers promise and pay, beside the same layers chosen blindly.

    A rule that took each layer as often as the search does, whatever the token, would over-promise
    the mean of the layers' gaps with these weights. What the search over-promises beyond that is
    due to its choosing low entropies: a winner's curse.
    """
    search = validation[SEARCH].overall
    final = audit.calibration.layers[-1].gap
    if not search.optimism.low > max(final.high, audit.calibration.materiality):
        return ""
    promise = (
        f"Where the search stops, entropy promises {number(search.entropy.estimate)} nats and "
        f"{number(search.log_loss.estimate)} are paid: {number(search.optimism.estimate)} too "
        f"little, against {number(final.estimate)} at the final layer."
    )
    # Ends of intervals are averaged as if they were reached together, which only widens them.
    gaps = [layer.gap for layer in audit.calibration.layers[::-1]]
    shares = [count / audit.tokens for count in audit.statistics.depth_counts]
    blind = sum(share * gap.estimate for share, gap in zip(shares, gaps, strict=False))
    highest = sum(share * gap.high for share, gap in zip(shares, gaps, strict=False))
    if search.optimism.low > highest:
        return (
            f"{promise} The same layers, chosen as often but whatever the token, would promise "
            f"only {number(blind)} too little: low entropies choose the layers that happen to be "
            "over-confident on that token, a winner's curse."
        )
    return (
        f"{promise} The same layers, chosen as often but whatever the token, would promise "
        f"{number(blind)} too little: no winner's curse shows, the layers themselves are off."
    )


def _swaps(validation: Validation) -> str:
    search = validation[SEARCH].overall
    changed = search.right_to_wrong + search.wrong_to_right
    if not changed:
        return ""
    return (
        f"The search moves {percent(search.moved.estimate, 0)} of the tokens; it turns "
        f"{search.right_to_wrong:,} right predictions wrong and {search.wrong_to_right:,} wrong "
        "ones right."
    )


def _hindsight(validation: Validation) -> str:
    gain = validation.oracle.overall.log_loss_vs_final
    if not gain.high < 0:
        return ""
    return (
        f"There is something to win: the best layer of the window in hindsight is "
        f"{number(-gain.estimate)} nats better than the final layer. Hindsight sees the reference "
        "token, so this is a ceiling and not a target."
    )
