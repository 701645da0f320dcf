"""The dial turned from 0 up, and the whole chain at each turn; finished turns are kept."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from empirical.analysis.audit import audit
from empirical.analysis.certify import certify_risk
from empirical.analysis.validate import validate
from empirical.capture.run import Settings as Capture
from empirical.capture.run import trace_problems
from empirical.evaluation.runner import Arm, run_arms
from empirical.evaluation.runner import Settings as Evaluation
from empirical.fitting.compare import DEFAULT
from empirical.fitting.fit import fit_traces
from empirical.problems import Problem, draw_problems
from empirical.report.verdict import SEARCH, judge
from empirical.studies.control.design import Design
from empirical.studies.control.results import PLAIN, Control, Look, Step
from empirical.studies.control.write import perturbed
from empirical.traces.files import Traces, read_traces
from stopping.errors import UserError
from stopping.rules import Search
from stopping.support.store import Parts, json_codec

if TYPE_CHECKING:
    from empirical.model.load import LoadedModel

# Called after each turn with the turns done so far, of all.
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """How much is traced and solved at each turn.

    Attributes
    ----------
    problems, sums : int
        Built-in problems whose solutions are traced, and sums that are solved.
    wide : int
        Steps back of the second window, which reaches below the writes.
    alpha : float
        Excess of log-loss that certificates accept, nats.
    replicates : int
        Of every bootstrap.
    """

    problems: int = 32
    sums: int = 16
    wide: int = 10
    max_new_tokens: int = 16
    alpha: float = 0.05
    chat: bool = False
    batch: int = 8
    seed: int = 0
    replicates: int = 1000

    def __post_init__(self) -> None:
        if self.problems < 2 or self.sums < 2:
            raise UserError("control: needs two problems and two sums at least")


def short(n: int, seed: int) -> list[Problem]:
    """Choose the `n` built-in problems with the shortest solutions among ten times as many."""
    return sorted(draw_problems(10 * n, seed), key=lambda problem: len(problem.solution))[:n]


def sums(n: int, seed: int) -> tuple[Problem, ...]:
    """Draw sums of two numbers below ten: within reach of a model of any size.

    Raises
    ------
    UserError
        If there are not so many.
    """
    pairs = [(a, b) for a in range(1, 10) for b in range(1, 10)]
    if n > len(pairs):
        raise UserError(f"sums: there are {len(pairs)} different ones, got {n}")
    drawn = np.random.default_rng(seed).permutation(len(pairs))[:n]
    return tuple(
        Problem(f"sum/{a}/{b}", "sum", "sum", 0, f"What is {a} + {b}?", f"{a + b}", f"{a + b}")
        for a, b in (pairs[i] for i in drawn)
    )


def run_control(
    loaded: "LoadedModel",
    designs: Sequence[Design],
    dials: Sequence[float],
    settings: Settings,
    *,
    out: Path | None = None,
    fresh: bool = False,
    command: str = "",
    report: Report = lambda done, total: None,
) -> Control:
    """Turn the dial of each design, and ask the chain each time.

    Parameters
    ----------
    out
        Where the result will stand: finished turns are kept beside it.
    fresh
        Throw away what an earlier run left there.

    Raises
    ------
    UserError
        If there is no dial, the model cannot be perturbed or has fewer layers than a window, or
        `out` belongs to another run.
    """
    if not designs or not dials:
        raise UserError("control: name at least one shape and one dial")
    problems, asked = short(settings.problems, settings.seed), sums(settings.sums, settings.seed)
    answering = Evaluation(
        settings.chat, settings.max_new_tokens, min(settings.batch, len(asked)), settings.seed
    )
    plain = run_arms(
        loaded, asked, {PLAIN: Arm(None, answering)}, answering,
        problems_seed=settings.seed, command=command,
    )  # fmt: skip
    parts = None
    if out is not None:
        run = {"model": loaded.name, "weights": loaded.weights, **asdict(settings)}
        parts = Parts.open(out, run, json_codec(Step), fresh=fresh)
    steps: list[Step] = []
    turns = [(design, dial) for design in designs for dial in sorted(dials)]
    for number, (design, dial) in enumerate(turns):
        series = f"{design.shape}-m={design.m}-seed={design.seed}-dial={dial!r}"
        step = None if parts is None else parts.part(0, series)
        if step is None:
            step = _turn(loaded, design, dial, problems, asked, answering, settings)
            if parts is not None:
                parts.keep(0, step, series)
        steps.append(step)
        report(number + 1, len(turns))
    return Control(
        plain.provenance,
        settings.alpha,
        tuple(answer.correct for answer in plain.answers[PLAIN]),
        tuple(steps),
    )


def _turn(
    loaded: "LoadedModel",
    design: Design,
    dial: float,
    problems: Sequence[Problem],
    asked: Sequence[Problem],
    answering: Evaluation,
    settings: Settings,
) -> Step:
    """From here on, nothing knows that the model is perturbed."""
    model = perturbed(loaded, design, dial)
    wide = max(settings.wide, design.m)
    capture = Capture(chat=settings.chat, layers=wide + 1, batch=settings.batch, storage="float32")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "traces.parquet"
        trace_problems(model, problems, capture, file, seed=settings.seed)
        traces = read_traces(file)
    fitted = fit_traces(
        traces, wide, seed=settings.seed, replicates=settings.replicates, refits=0,
        treatment=DEFAULT,
    )  # fmt: skip
    windows = sorted({design.m, wide})
    rules = [Search(K) for K in windows]
    arms = {PLAIN: Arm(None, answering)} | {r.spec(): Arm(r, answering) for r in rules}
    answered = run_arms(model, asked, arms, answering).answers
    allowed = certify_risk(traces, rules[:1], settings.alpha, seed=settings.seed).best
    return Step(
        design=design,
        dial=float(dial),
        tokens=len(traces),
        layers=tuple(traces.layers.tolist()),
        entropy=tuple(traces.entropy.mean(axis=0, dtype=np.float64).tolist()),
        log_loss=tuple((-traces.log_prob).mean(axis=0, dtype=np.float64).tolist()),
        turning=tuple(row.turning.estimate for row in fitted.layers),
        looks=tuple(_look(traces, K, settings) for K in windows),
        certified=None if allowed is None else allowed.share,
        correct={name: tuple(a.correct for a in given) for name, given in answered.items()},
    )


def _look(traces: Traces, K: int, settings: Settings) -> Look:
    audited = audit(traces, K, settings.seed, settings.replicates)
    validated = validate(traces, K=K, seed=settings.seed, replicates=settings.replicates)
    verdict = judge(audited, validated, traces.provenance.lens)
    search = validated[SEARCH].overall
    ceiling = f"ceiling {audited.noise.ceiling:g}"
    return Look(
        K=K,
        dominance=audited.noise.verdicts[2].status,
        late_rise=next(v.late_rise for v in audited.noise.levels if v.origin == ceiling),
        log_loss=search.log_loss_vs_final,
        accuracy=search.accuracy_vs_final,
        guarantee=verdict.guarantee,
        answer=verdict.answer,
        rule=verdict.rule,
    )
