"""The solved rules: Bayes on the full window (S3) and the Snell rule (S1, S2), as rules.

Both need a fitted model, which does not fit into a command line, so their text form names a file:

    bayes:file=FIT.json       a model, as `stopping fit` writes it
    snell:file=RULE.json      a solved rule, as `stopping solve` writes it

and `parse_rule` accepts them wherever rules are given. A rule made in memory has no text form until
it has been saved.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from stopping.changepoint import ChangePointModel, FittedOn, read_model
from stopping.errors import UserError
from stopping.optimal.bases import Fitted, basis_from
from stopping.optimal.filtering import ScanFilter
from stopping.optimal.layers import LayerProblem
from stopping.optimal.learners import Weights
from stopping.optimal.regression import Policy, Stage
from stopping.rules.base import NOT_WRITTEN, AbstractRule, Reading
from stopping.support.documents import Format, plain
from stopping.types import FloatArray, IntArray

FORMAT = Format(
    "layer-stopping solved rule",
    1,
    "solved rule",
    "make one with `stopping solve MODEL.json --out RULE.json`",
)
OUT_OF_REACH = 1e5
"""In nats; no vocabulary has such an entropy, so a layer that reads so has not been read."""


@final
@dataclass(frozen=True, eq=False)
class Bayes(AbstractRule):
    """The layer of least expected excess given the whole window (S3); the deepest among ties.

    Attributes
    ----------
    model : ChangePointModel
    file : str
        Where the model was read from; empty if it was not.
    """

    model: ChangePointModel = field(metadata=NOT_WRITTEN)
    file: str = ""
    kind: ClassVar[str] = "bayes"

    @property
    def name(self) -> str:
        """Name for tables."""
        return "bayes"

    @property
    def K(self) -> int:
        """Steps back that the model's window allows."""
        return self.model.K

    @property
    def fitted_on(self) -> FittedOn | None:
        """The LLM whose entropies the model was fitted to."""
        return self.model.fitted_on

    @classmethod
    def from_file(cls, path: Path) -> "Bayes":
        """Read a fitted model's file; see `read_model` for what is refused."""
        return cls(read_model(path), str(path))

    @cached_property
    def _filter(self) -> ScanFilter:
        return ScanFilter(self.model)

    def expected_excess(self, x: FloatArray) -> FloatArray:
        """`E[excess(l) | x]` of the window's layers, shape (n, K + 1), nats."""
        return self._filter.known(_window(x, self.model.w, self.name)[:, ::-1]).excess

    def _choose(self, x: FloatArray, rng: np.random.Generator | None) -> IntArray:
        # Read from `L` back, the first of several least ones is the deepest.
        depth: IntArray = self.expected_excess(x)[:, ::-1].argmin(axis=1)
        column: IntArray = x.shape[1] - 1 - depth
        return column

    def _projections(self, x: FloatArray) -> IntArray:
        return np.full(len(x), self.K)


@final
@dataclass(frozen=True, eq=False)
class Snell(AbstractRule):
    """Reads backwards while the expected gain is worth its cost, then takes the best layer known.

    Attributes
    ----------
    policy : Policy
        Of a `LayerProblem`.
    file : str
        Where the rule was read from; empty if it was not.
    """

    policy: Policy = field(metadata=NOT_WRITTEN)
    file: str = ""
    kind: ClassVar[str] = "snell"
    reading: ClassVar[Reading] = "returning"

    @property
    def problem(self) -> LayerProblem:
        """The problem that it solves."""
        problem = self.policy.problem
        if not isinstance(problem, LayerProblem):
            raise UserError("snell: the policy is one of another problem than layer selection")
        return problem

    @property
    def name(self) -> str:
        """Name for tables, with the cost that it assumes."""
        return f"snell c={self.problem.cost:g}" + ("" if self.problem.recall else ", no recall")

    @property
    def K(self) -> int:
        """Steps back that the model's window allows."""
        return self.problem.horizon

    @property
    def fitted_on(self) -> FittedOn | None:
        """The LLM whose entropies the model was fitted to."""
        return self.problem.model.fitted_on

    @classmethod
    def from_file(cls, path: Path) -> "Snell":
        """Read a solved rule's file.

        Raises
        ------
        UserError
            If the file is missing, damaged, of another kind or of a newer version.
        """
        return _read_snell(path)

    def _choose(self, x: FloatArray, rng: np.random.Generator | None) -> IntArray:
        return self._scan(x)[0]

    def _projections(self, x: FloatArray) -> IntArray:
        return self._scan(x)[1]

    def _scan(self, x: FloatArray) -> tuple[IntArray, IntArray]:
        """Chosen column, and projections wanted: one more than made where the next is unread."""
        history = _window(x, self.problem.model.w, self.name)[:, ::-1]
        # Out-of-reach values would only be looked at to be thrown away.
        readable = np.minimum(history, OUT_OF_REACH)
        offset = x.shape[1] - self.problem.model.w
        column, projections = np.empty((2, len(x)), dtype=np.intp)
        running = np.arange(len(x))
        for t in range(self.K + 1):
            seen = readable[running, : t + 1]
            halt = np.ones(len(running), dtype=np.bool_)
            wanted = np.full(len(running), t)
            if t < self.K:
                stops = self.policy.stages[t].stops(self.problem.look(seen))
                blocked = history[running, t + 1] >= OUT_OF_REACH
                halt = stops | blocked
                wanted = np.where(stops, t, t + 1)
            if halt.any():
                column[running[halt]] = offset + self.problem.choice(seen[halt])
                projections[running[halt]] = wanted[halt]
            running = running[~halt]
            if not running.size:
                break
        return column, projections


def save_rule(path: Path, rule: Snell, about: dict[str, Any] | None = None) -> Snell:
    """Write a Snell rule as JSON, whole or not at all; return it with its text form."""
    problem, basis = rule.problem, rule.policy.stages[0].fitted.basis
    stages = tuple(map(_coefficients, rule.policy.stages))
    solved = _Solved(problem.model, problem.cost, problem.recall, basis.settings(), stages)
    FORMAT.write(path, {**plain(solved), **(about or {})})
    return replace(rule, file=str(path))


@dataclass(frozen=True, eq=False)
class _Coefficients:
    """One stage in the file."""

    centre: FloatArray
    scale: FloatArray
    decision: FloatArray
    value: FloatArray

    def __post_init__(self) -> None:
        for name, found in vars(self).items():
            if found.ndim != 1 or not np.isfinite(found).all():
                raise UserError(f"{name}: coefficients must be finite numbers")
        if not (self.scale > 0).all():
            raise UserError("scale: must be positive")


def _coefficients(stage: Stage) -> _Coefficients:
    decision, value = stage.decision, stage.value
    if not (isinstance(decision, Weights) and isinstance(value, Weights)):
        raise UserError(
            "snell: a rule of boosted trees cannot be saved; solve with polynomials or a random "
            "network"
        )
    return _Coefficients(stage.fitted.centre, stage.fitted.scale, decision.values, value.values)


@dataclass(frozen=True, eq=False)
class _Solved:
    """The file."""

    model: ChangePointModel
    cost: float
    recall: bool
    basis: dict[str, Any]
    stages: tuple[_Coefficients, ...]


def _read_snell(path: Path) -> Snell:
    found = FORMAT.load(path, _Solved)
    try:
        basis = basis_from(found.basis)
        problem = LayerProblem(found.model, found.cost, found.recall)
        stages = tuple(
            Stage(Fitted(basis, s.centre, s.scale), Weights(s.decision), Weights(s.value))
            for s in found.stages
        )
        if len(stages) != problem.horizon:
            raise ValueError(f"{len(stages)} stages for {problem.horizon} steps")
        rule = Snell(Policy(problem, stages), str(path))
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            rule.choose(np.ones((1, problem.model.w)))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{path}: a solved rule with a part missing or wrong ({error})") from error
    return rule


def _window(x: FloatArray, w: int, rule: str) -> FloatArray:
    if x.shape[1] < w:
        raise UserError(
            f"{rule}: solved for a window of {w} layers, the tokens have {x.shape[1]}; fit a model "
            "with a shorter window"
        )
    return x[:, -w:]
