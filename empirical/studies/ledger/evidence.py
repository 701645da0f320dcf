"""What the traces of some models say about the paper's claims, gathered once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from empirical.analysis.audit import Audit, audit
from empirical.analysis.phases import Phases, find_phases
from empirical.analysis.validate import Validation, default_rules, validate
from empirical.traces.files import Traces
from stopping.rules import Search
from stopping.support.statistics import Interval

WINDOW = 10
"""The paper's window."""
NEVER, HALF = Search(WINDOW, p=0.0), Search(WINDOW, p=0.5)


@dataclass(frozen=True)
class ModelEvidence:
    """Audit, validation and phases of one model on reference texts."""

    name: str
    audit: Audit
    validation: Validation
    phases: Phases

    def statistic(self, key: str) -> Interval:
        """Return one of the paper's token statistics on these tokens."""
        return self.audit.statistics[key].ours

    def log_loss(self, rule: str) -> Interval:
        """Return a rule's log-loss minus the final layer's, nats, by the name of the rule."""
        return self.validation[rule].overall.log_loss_vs_final

    def accuracy(self, rule: str) -> Interval:
        """Return a rule's accuracy minus the final layer's, a share."""
        return self.validation[rule].overall.accuracy_vs_final


@dataclass(frozen=True)
class Evidence:
    """Evidence of every model."""

    models: tuple[ModelEvidence, ...]

    def lines(self, say: Callable[[ModelEvidence], str]) -> str:
        """Return one line for each model: its name, and what `say` makes of it."""
        return "\n".join(f"{model.name}: {say(model)}" for model in self.models)

    def all(self, holds: Callable[[ModelEvidence], bool]) -> bool:
        """Whether something holds for every model."""
        return all(holds(model) for model in self.models)


def gather(traces: Mapping[str, Traces], seed: int = 0, replicates: int = 1000) -> Evidence:
    """Audit and validate reference traces, given by the names to print.

    Raises
    ------
    UserError
        If a trace file has fewer than eleven traced layers or two prompts.
    """
    rules = (*default_rules(WINDOW), NEVER, HALF)
    return Evidence(
        tuple(
            ModelEvidence(
                name,
                audit(found, WINDOW, seed, replicates),
                validate(found, rules, WINDOW, seed, replicates),
                find_phases(found, seed, replicates),
            )
            for name, found in traces.items()
        )
    )
