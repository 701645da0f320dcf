"""What learned and model-based rules win or lose on prompts that they have not seen, and why.

All differences are to the final layer of the same lens, paired over prompts. Three diagnostics say
why a gain does not come about:

- *promise and delivery*: what the regression expects of the layers that it picks, beside what they
  do; the difference is its winner's curse;
- *the best margin in hindsight*: the least loss over all margins, chosen after the fact. It is too
  good, so if even that is no gain, no choice of the margin would have helped;
- *the learning curve*: the same rule trained on fewer prompts, judged on the same tokens.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from empirical.analysis.decisions import MATERIAL, Contest, decide
from empirical.analysis.validate.core import oracle_layer
from empirical.analysis.validate.rivals import rivals
from empirical.fitting.learning.crossfit import FOLDS, MARGINS, crossfit, realised
from empirical.fitting.learning.observations import Observations
from empirical.fitting.learning.power import power
from empirical.fitting.learning.regressors import Boosting, Regressor, Ridge
from empirical.fitting.learning.results import Diagnosis, Learned, LearnedRow
from empirical.fitting.learning.theory import crossfit_theory
from empirical.intervals import Ratio, bonferroni, mean
from stopping.changepoint import Scale
from stopping.rules import Search
from stopping.support.parallel import Workers
from stopping.types import IntArray

FRACTIONS = (0.25, 0.5, 1.0)
"""Of the training prompts, for the learning curve."""


@dataclass(frozen=True, eq=False)
class _Choice:
    """A rule's choice before it is measured."""

    name: str
    kind: str
    choice: IntArray
    promised: float
    projections: float


def learn(
    observations: Observations,
    *,
    with_lens: str | None = None,
    cost: float = 0.02,
    scale: Scale | None = None,
    theory: bool = True,
    seed: int = 0,
    folds: int = FOLDS,
    workers: Workers | None = None,
    material: float = MATERIAL,
    advance: Callable[[str], object] = lambda _: None,
) -> Learned:
    """Cross-fit both regressions and the rules of a fitted model, and measure them.

    Parameters
    ----------
    observations : Observations
    with_lens : str, optional
        Name of the other lens whose columns joined.
    cost : float
        Of a projection, nats, for the Snell rule.
    scale : Scale, optional
        Of the change-point model; default: a softplus with its knee at one nat.
    theory : bool
        Whether to fit and apply the change-point model.
    material : float
        A difference in log-loss, nats, that counts.
    advance : callable
        Told the name of each part when it is done.
    """
    sample, K = observations.sample, observations.gain.shape[1]
    search = Search(K)
    choices = [
        _Choice(
            "search",
            "paper",
            search.choose(sample.x),
            math.nan,
            float(search.projections(sample.x).mean()),
        )
    ]
    if theory:
        found = crossfit_theory(
            sample.x, observations.clusters, cost, scale or Scale(0.01, 1.0), seed, workers
        )
        choices += [
            _Choice(
                f.name, "theory", f.choice, float(f.promised.mean()), float(f.projections.mean())
            )
            for f in found
        ]
        advance("theory")
    diagnoses, plug_in = [], []
    for regressor in (Ridge(), Boosting(seed=seed)):
        chosen, unguarded, diagnosis = _learned(observations, regressor, seed, folds, workers)
        choices += chosen
        plug_in.append(unguarded)
        diagnoses.append(diagnosis)
        advance(regressor.name)
    choices.append(
        _Choice("hindsight oracle", "hindsight", oracle_layer(sample), math.nan, math.nan)
    )
    # Whichever moves most: the power of a rule that hardly moves would flatter.
    moving_most = min(plug_in, key=lambda choice: float(choice.mean()))
    measured = _measure(observations, choices, material)
    return Learned(
        model=sample.traces.provenance.model,
        lens=sample.traces.provenance.lens,
        with_lens=with_lens,
        prompts=sample.prompts,
        tokens=len(sample.x),
        K=K,
        features=len(observations.names),
        seed=seed,
        reference_is_own_text=sample.own_text,
        last_log_loss=float(sample.log_loss[:, -1].mean()),
        level=bonferroni(len(measured) - 1),
        material=material,
        rows=measured,
        diagnoses=tuple(diagnoses),
        power=power(realised(observations.gain, moving_most), observations.prompt),
    )


def _learned(
    observations: Observations,
    regressor: Regressor,
    seed: int,
    folds: int,
    workers: Workers | None,
) -> tuple[list[_Choice], IntArray, Diagnosis]:
    """Choices with and without a margin, and the diagnosis."""
    gain, K = observations.gain, observations.gain.shape[1]
    fitted = crossfit(observations, regressor, seed, folds, workers)
    plug_in = fitted.choice(0.0)
    promised = realised(fitted.predicted, plug_in)
    made = [float(realised(gain, fitted.choice(margin)).mean()) for margin in MARGINS]
    best = len(MARGINS) - 1 - int(np.argmin(made[::-1]))
    # Curves need many more fits, so they are drawn for the cheap regression alone.
    fractions = FRACTIONS[:-1] if isinstance(regressor, Ridge) else ()
    curve = [
        (
            f,
            float(
                realised(
                    gain, crossfit(observations, regressor, seed, folds, workers, f).choice(0.0)
                ).mean()
            ),
        )
        for f in fractions
    ]
    guarded = fitted.choice()
    choices = [
        _Choice(
            regressor.name, "learned", guarded, float(realised(fitted.predicted, guarded).mean()), K
        ),
        _Choice(f"{regressor.name}, no margin", "learned", plug_in, float(promised.mean()), K),
    ]
    return (
        choices,
        plug_in,
        Diagnosis(
            regressor=regressor.name,
            explained=tuple(float(r) for r in fitted.explained(gain)),
            promised=float(promised.mean()),
            delivered=float(realised(gain, plug_in).mean()),
            best_margin=MARGINS[best],
            best=made[best],
            curve=(*curve, (1.0, float(realised(gain, plug_in).mean()))),
            margins=tuple(float(m) for m in np.unique(fitted.margin)),
        ),
    )


def _measure(
    observations: Observations, choices: list[_Choice], material: float
) -> tuple[LearnedRow, ...]:
    """Measure the choices, hindsight last, and before it the rivals that the traces allow."""
    sample, K = observations.sample, observations.gain.shape[1]
    right = observations.right.astype(np.float64)
    rows = np.arange(len(right))
    ratios: dict[str, Ratio] = {}
    for chosen in choices:
        ratios[f"log_loss {chosen.name}"] = mean(realised(observations.gain, chosen.choice))
        hits = right[rows, chosen.choice] - right[:, -1]
        ratios[f"accuracy {chosen.name}"] = mean(hits)
        ratios[f"moved {chosen.name}"] = mean(chosen.choice < K)
    rules = [chosen for chosen in choices if chosen.kind != "hindsight"]
    contests = {c.name: Contest.of_choice(sample.log_loss, c.choice) for c in rules}
    plain = []
    for name, outcome in rivals(sample):
        # The final layer's own token stays the likeliest at any temperature.
        difference = outcome.loss - sample.log_loss[:, -1]
        ratios[f"log_loss {name}"] = mean(difference)
        ratios[f"accuracy {name}"] = ratios[f"moved {name}"] = mean(np.zeros(len(right)))
        contests[name] = Contest.of_difference(difference)
        plain.append(_Choice(name, "rival", np.full(len(right), K), math.nan, 0.0))
    found = sample.intervals(ratios)
    decided = decide(list(contests.values()), sample, material)
    decisions = dict(zip(contests, decided, strict=True))

    def row(chosen: _Choice) -> LearnedRow:
        decision = decisions.get(chosen.name)
        return LearnedRow(
            chosen.name,
            chosen.kind,
            found[f"log_loss {chosen.name}"],
            None if decision is None else decision.interval,
            None if decision is None or sample.own_text else decision.comparison,
            found[f"accuracy {chosen.name}"],
            found[f"moved {chosen.name}"],
            chosen.promised,
            chosen.projections,
        )

    hindsight = [chosen for chosen in choices if chosen.kind == "hindsight"]
    return tuple(row(chosen) for chosen in (*rules, *plain, *hindsight))
