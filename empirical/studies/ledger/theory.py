"""Claims on the rule, its theorem and its published code."""

import math

import numpy as np

from empirical.numbers import number, percent
from empirical.studies.ledger.entry import Entry, Topic, Verdict, nothing
from empirical.studies.ledger.evidence import NEVER, Evidence, ModelEvidence
from stopping.claims.worlds import adversarial_worlds
from stopping.model.scenarios import Bound, scenarios
from stopping.rules import Search, printed_formula
from stopping.simulation.robustness import Outcome, robustness_table
from stopping.theory.bounds import (
    containment_counterexample,
    excess_bound,
    lower_containment_counterexample,
)

_FALLING = np.array([[3.0, 2.0, 1.0, 0.5]])
_STEP = "step +1 eps_max at V* = L"


def _formula_steps() -> tuple[int, int]:
    """Steps back on a falling trace: of Algorithm 1, and of the displayed formula."""
    last, K = _FALLING.shape[1] - 1, 3
    algorithm, formula = Search(K).choose(_FALLING)[0], printed_formula(_FALLING, K)[0]
    return last - int(algorithm), last - int(formula)


def _formula(_: Evidence) -> str:
    algorithm, formula = _formula_steps()
    return f"on a falling trace the algorithm goes {algorithm} back, the formula {formula}"


def _late_stop(delta: float) -> int:
    """Layers above V* where the search stops in the world at the border of A3."""
    world = containment_counterexample(delta=delta, eps_max=0.25)
    return int(Search(world.K).choose(world.x)[0] - world.turning[0])


def _containment(_: Evidence) -> str:
    return f"with a rise of exactly 2 eps_max it can stop {_late_stop(0.5)} layer above V*"


def _below_onset() -> int:
    """Layers below the onset of the valley where the search stops in the counterexample."""
    world, onset = lower_containment_counterexample(eps_max=0.25, gamma=0.05, steps=4)
    return int(onset - Search(world.K).choose(world.x)[0])


def _onset(_: Evidence) -> str:
    return f"a world with A1–A4 where it stops {_below_onset()} layer below V_onset"


def _attained() -> float:
    """Share of T2's bound that the search loses in the worst of some random worlds."""
    worlds = adversarial_worlds(np.random.default_rng(0), 5000)
    return float(worlds.excess(Search(worlds.K).choose(worlds.x)).max() / excess_bound(1.0))


def _negligible(_: Evidence) -> str:
    # Rounded down: the bound is approached, never reached.
    return f"up to {percent(math.floor(1000 * _attained()) / 1000)} of 2 eps_max is lost"


def _stepped() -> dict[Bound, Outcome]:
    """What survives a step in the noise as high as its bound."""
    asked = [s for s in scenarios() if s.parameter == _STEP and s.shape == "cliff"]
    return {row.bound: row.outcome for row in robustness_table(0, 1 << 14, asked)}


def _jump(_: Evidence) -> str:
    found = _stepped()
    return (
        f"a step of eps_max: T2 as printed {found[Bound.EXCESS]}, "
        f"with the step added to 2 eps_max it {found[Bound.EXCESS_RANGE]}"
    )


def _entropies() -> tuple[float, float]:
    """Entropy of four equal tokens, nats: right, and by `p * p.log_()`."""
    p = np.full(4, 0.25)
    right = float(-(p * np.log(p)).sum())
    np.log(p, out=p)  # in place, before the product is taken
    return right, float(-(p * p).sum())


def _in_place(_: Evidence) -> str:
    right, released = _entropies()
    return f"four equal tokens: {number(right)} nats, by the released line {number(released)}"


def _never_moves(model: ModelEvidence) -> bool:
    return model.validation[NEVER.name].overall.moved.high == 0.0


THEORY: tuple[Entry, ...] = (
    Entry(
        "formula",
        Topic.THEORY,
        "Algorithm 1 is the displayed formula, a maximum over the layers below the last",
        "",
        _formula,
        Verdict.CONTRADICTED,
        "the formula can never return the final layer, where the algorithm may stay",
        "stopping conformance stopping.rules:printed_formula --kind selection",
        lambda _: _formula_steps() == (0, 1),
    ),
    Entry(
        "containment",
        Topic.THEORY,
        "with late rises above 2 eps_max the search does not stop above V*",
        "",
        _containment,
        Verdict.DERIVED,
        "T1; the condition is sharp",
        "stopping verify T1",
        lambda _: _late_stop(0.5) > 0,
    ),
    Entry(
        "onset",
        Topic.THEORY,
        "the search does not stop below the onset of the valley",
        "",
        _onset,
        Verdict.CONTRADICTED,
        "T3; it needs a valley that falls by 2 eps_max in all, or a window that ends at the onset",
        "stopping verify T3",
        lambda _: _below_onset() > 0,
    ),
    Entry(
        "negligible",
        Topic.THEORY,
        "the loss is asymptotically negligible",
        "no figure",
        _negligible,
        Verdict.CONTRADICTED,
        "T2: below 2 eps_max, which is tight, and no limit is stated in which it would vanish",
        "stopping verify T2",
        lambda _: _attained() > 0.99,
    ),
    Entry(
        "jump",
        Topic.THEORY,
        "the noise may have a smooth part and a jump where the type of layer changes",
        "",
        _jump,
        Verdict.DERIVED,
        "A2 must hold for the sum of both parts",
        "stopping verify robustness '*step*'",
        lambda _: (
            (_stepped()[Bound.EXCESS], _stepped()[Bound.EXCESS_RANGE])
            == (Outcome.FAILS, Outcome.SURVIVES)
        ),
    ),
    Entry(
        "calibration",
        Topic.THEORY,
        "a lower entropy is a better prediction (assumed, not said)",
        "",
        lambda e: e.lines(
            lambda m: (
                f"log-loss minus entropy {number(m.audit.calibration.window_gap.estimate)} nats "
                "over the window"
            )
        ),
        Verdict.NOT_SEEN,
        "A0 fails: on these models the middle layers are over-confident",
        "stopping audit",
        lambda e: e.all(lambda m: m.audit.calibration.window_gap.low > 0),
    ),
    Entry(
        "off-switch",
        Topic.THEORY,
        "p = 0 is ordinary decoding exactly",
        "",
        lambda e: e.lines(
            lambda m: (
                f"moves {percent(m.validation[NEVER.name].overall.moved.estimate)} of the tokens"
            )
        ),
        Verdict.REPRODUCED,
        "also inside generate, on every family in the table of architectures",
        "stopping generate --model MODEL --prompt PROMPT --p 0",
        lambda e: e.all(_never_moves),
    ),
    Entry(
        "released-entropy",
        Topic.THEORY,
        "the published code computes the entropy",
        "",
        _in_place,
        Verdict.CONTRADICTED,
        "one version takes the logarithm in place and sums its square",
        "pytest tests/conformance/test_wrong.py -k logarithm_in_place",
        lambda _: _entropies()[1] < 0 < _entropies()[0],
    ),
    Entry(
        "risk",
        Topic.THEORY,
        "the layer minimises a risk of log-loss plus lambda times a divergence from alignment",
        "no figure",
        nothing,
        Verdict.NOT_TESTABLE,
        "neither lambda nor the aligned distribution is given; the nearest thing here is a lens "
        "fitted to the final layer's distribution",
        "stopping lens fit --model MODEL --out LENS --target final",
    ),
)
