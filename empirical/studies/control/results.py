"""What the chain says of a perturbed model, at each turn of the dial."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from empirical.analysis.audit import Status
from empirical.evaluation.paired import Paired, paired
from empirical.provenance import Provenance
from empirical.report.verdict import Answer, Guarantee
from empirical.studies.control.design import Design
from stopping.support.documents import Format
from stopping.support.results import Report, Result
from stopping.support.statistics import Interval

if TYPE_CHECKING:
    from empirical.figures.control import Panel

FORMAT = Format(
    "layer-stopping positive control",
    1,
    "file of a positive control",
    "make one with `stopping control`",
)
PLAIN = "plain"


@dataclass(frozen=True)
class Look:
    """Audit, validation and verdict through one window.

    Attributes
    ----------
    K : int
        Steps back that the search may take.
    dominance : Status
        A3's, at the noise level of the audit's verdicts.
    late_rise : Interval
        Share of tokens that noise of that level cannot explain, and a late rise can.
    log_loss, accuracy : Interval
        Of the search minus the final layer: nats, at the level of all rules together, and shares.
    guarantee, answer
        The report's two answers, and the `rule` that it recommends, if any.
    """

    K: int
    dominance: Status
    late_rise: Interval
    log_loss: Interval
    accuracy: Interval
    guarantee: Guarantee
    answer: Answer
    rule: str | None


@dataclass(frozen=True)
class Step:
    """All that is found at one turn of the dial.

    Attributes
    ----------
    layers : tuple of int
        Those traced, the perturbed model's final one last.
    entropy, log_loss : tuple of float
        Their means over tokens, nats.
    turning : tuple of float
        Fitted probability that each of them is `V*`.
    looks : tuple of Look
        Through the window that the write spans, and through a wider one.
    certified : float or None
        Least share of the final layer that is certified for the first window's search; None where
        none is.
    correct : dict
        By decoder (`plain`, or the search's text), which problems were solved.
    """

    design: Design
    dial: float
    tokens: int
    layers: tuple[int, ...]
    entropy: tuple[float, ...]
    log_loss: tuple[float, ...]
    turning: tuple[float, ...]
    looks: tuple[Look, ...]
    certified: float | None
    correct: dict[str, tuple[bool, ...]]

    @property
    def found(self) -> int:
        """Layer that the fit takes for `V*` most often."""
        return self.layers[max(range(len(self.layers)), key=lambda i: self.turning[i])]

    @property
    def rises(self) -> float:
        """Mean entropy of the final layer minus that of the layer below the writes, nats."""
        return self.entropy[-1] - self.entropy[-1 - self.design.m]


@dataclass(frozen=True)
class Solved:
    """One decoder on the perturbed model, against plain decoding of it and of the model itself."""

    decoder: str
    against_plain: Paired
    against_unperturbed: Paired


@dataclass(frozen=True)
class Control(Result):
    """The dial's story.

    Attributes
    ----------
    provenance : Provenance
        Of the unperturbed model's traces.
    alpha : float
        Excess of log-loss that certificates accept, nats.
    unperturbed : tuple of bool
        Which problems the model itself solves by plain decoding.
    steps : tuple of Step
        Designs one after the other, the dial from 0 up.
    """

    provenance: Provenance
    alpha: float
    unperturbed: tuple[bool, ...]
    steps: tuple[Step, ...]

    def items(self) -> tuple[Step, ...]:
        """Turns of the dial."""
        return self.steps

    def solved(self, step: Step) -> tuple[Solved, ...]:
        """Each decoder's problems, paired with those of plain decoding and of the model itself."""
        plain = step.correct[PLAIN]
        return tuple(
            Solved(name, paired(given, plain), paired(given, self.unperturbed))
            for name, given in step.correct.items()
        )

    def panels(self) -> "list[Panel]":
        """What is drawn: one panel for each shape."""
        from empirical.figures.control import Panel

        def share(given: tuple[bool, ...]) -> float:
            return sum(given) / len(given)

        return [
            Panel(
                shape=design.shape.value,
                writes=design.m,
                entropy={step.dial: step.entropy for step in steps},
                solved={
                    name.partition(",")[0]: [share(step.correct[name]) for step in steps]
                    for name in steps[0].correct
                },
                unperturbed=share(self.unperturbed),
            )
            for design in dict.fromkeys(step.design for step in self.steps)
            for steps in [[step for step in self.steps if step.design == design]]
        ]

    def report(self) -> Report:
        """Two tables and what they say."""
        from empirical.studies.control.tables import report

        return report(self)
