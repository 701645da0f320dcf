"""`stopping solve`: the best possible rule under a model, and what every other rule costs."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console

from stopping.changepoint import ChangePointModel, read_model
from stopping.cli.lazy import WithMore
from stopping.cli.numbers import NATS
from stopping.cli.options import (
    FILE,
    figure_option,
    paths_option,
    rules_option,
    seed_option,
    workers_options,
)
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, with_json
from stopping.optimal import diagram
from stopping.optimal.belief import BeliefSolution, solve_belief
from stopping.optimal.comparison import RuleComparison, compare_rules
from stopping.optimal.region import summarise
from stopping.optimal.rules import FORMAT, Snell, save_rule
from stopping.rules import parse_rule
from stopping.support.files import FIGURE, require_writable
from stopping.support.parallel import Workers


@click.command(cls=WithMore, more={"phases": "stopping.cli.solve_phases:phases"})
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option(
    "--cost",
    type=NATS,
    default=0.02,
    help="Cost of a projection (an unembedding), nats.",
)
@click.option("--no-recall", is_flag=True, help="A layer that was passed is lost.")
@rules_option("Rule to compare, such as search or tolerance:tau=0.5; repeat. [default: all]")
@paths_option
@click.option("--out", type=FILE, help="Save the optimal rule here (JSON).")
@figure_option("region and gaps")
@seed_option
@workers_options
@with_json()
def solve(
    model: Path | None,
    cost: float,
    no_recall: bool,
    specs: tuple[str, ...],
    paths: int,
    out: Path | None,
    figure: Path | None,
    seed: int,
    workers: Workers,
) -> Reply:
    """Solve layer selection as an optimal stopping problem (S1-S3).

    MODEL is a change-point model as JSON: what `stopping fit` writes, or your own parameters in
    its format; without one, a reference world with rises of one nat is solved. Losses are nats:
    expected excess plus the cost of projections, least is best. The value is printed in a bracket:
    the loss of the rule found is at least the optimum, the dual bound is at most the optimum. Both
    are means over drawn tokens, so their order may be wrong by as much as their errors.

    \b
    Examples:
      stopping solve                                     the reference world
      stopping solve FIT.json --cost 0.05 --out rule.json
      stopping validate TRACES --rule snell:file=rule.json --rule bayes:file=FIT.json
      stopping generate --model M --rule snell:file=rule.json --prompt P
      stopping solve FIT.json --cost 0 --figure gaps.svg
    """
    inputs = () if model is None else (model,)
    require_writable((out, FORMAT.kind), (figure, FIGURE), inputs=inputs)
    started = time.perf_counter()
    law = reference_model() if model is None else read_model(model)
    rules = [parse_rule(spec, law.K) for spec in specs] or None
    with progress() as bar:
        bar.add_task("solving", total=None)
        found = compare_rules(
            law, cost, not no_recall, rules=rules, paths=paths, seed=seed, workers=workers
        )
    exact = exact_value(law, cost, not no_recall)
    solved = Solved(found, exact, model, time.perf_counter() - started)
    return Reply(solved.content, solved.show, [(out, solved.save), (figure, solved.draw)])


def reference_model() -> ChangePointModel:
    """The component that the phase diagrams vary, as a model."""
    return diagram.world(diagram.reference(), eps_max=0.3, perturbed=0.5)


def exact_value(model: ChangePointModel, cost: float, recall: bool) -> BeliefSolution | None:
    """Solve the two-phase model on a grid, if this is one; None otherwise."""
    if len(model.components) > 1 or model.scale.shift is not None:
        return None
    component = model.components[0]
    # A flat start is one whose spread dwarfs the largest change that the window can bring about.
    steps = component.rise_mean + component.drift_mean + component.rise_sd + component.drift_sd
    if component.noise_sd.any() or component.start_sd < 30 * steps.sum():
        return None
    return solve_belief(component, cost, recall)


@dataclass
class Solved:
    """The solution, and the rule as it was saved."""

    found: RuleComparison
    exact: BeliefSolution | None
    model: Path | None
    seconds: float
    saved: list[Snell] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the optimal rule."""
        made = {"from": None if self.model is None else self.model.name}
        self.saved.append(save_rule(path, self.found.rule, made))

    def draw(self, path: Path) -> None:
        """Draw region and gaps."""
        from stopping.figures.draw import save_solution

        save_solution(self.found, path)

    def content(self) -> dict[str, object]:
        """Everything, for `--json`."""
        found, exact = self.found, self.exact
        return {
            "model": None if self.model is None else self.model.name,
            "cost": found.cost,
            "recall": found.recall,
            "seed": found.seed,
            "paths": found.paths,
            "value": {"at_most": found.upper, "at_least": found.lower, "bracket": found.bracket},
            "dual": {"inner": found.dual.inner, "budget": found.dual.budget},
            "exact": None
            if exact is None
            else {"value": exact.value, "moved": exact.moved, "converged": exact.converged},
            "region": [summarise(sample) for sample in found.region],
            "rules": found.gaps,
            "rule": self.saved[0].spec() if self.saved else None,
        }

    def show(self, out: Console) -> None:
        """Print the bracket, the region, the gaps and the nearest rule."""
        out.print(f"{self.model or 'reference world'}:", markup=False, soft_wrap=True)
        out.print(self.found)
        if self.exact is not None:
            state = "" if self.exact.converged else ", not converged"
            value = f"{self.exact.value:.4f} (moved {self.exact.moved:.1e}{state})"
            out.print(f"exact value, on a grid: {value}")
        out.print(f"({self.seconds:.1f} s)")
        for rule in self.saved:
            out.print(f"saved: --rule {rule.spec()}", markup=False, soft_wrap=True)
