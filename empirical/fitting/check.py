r"""`stopping fit --check`: is what a fit says right, in worlds whose truth is known?

In each of the `worlds` tokens are drawn and fitted as `stopping fit` does: half of the prompts,
predictions of the others, the noisy walk beside it, all prompts, tests of misfit. Then every
parameter that is called *identified*, and the latent excess where it is, is asked whether its
interval holds the truth. The optimisation starts near the truth: this is a study of what is
concluded, not of the search for the maximum.

`naive` is the negative control: statuses from standard errors alone, whatever the comparison says.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from empirical.fitting.compare import split
from empirical.fitting.predictive import predictive
from empirical.fitting.statuses import excess_status, judged, latent_excess
from empirical.fitting.worlds import WORLDS, drawn
from stopping.changepoint import ChangePointModel
from stopping.changepoint.estimate import carry_on, fit_near, layout_for
from stopping.changepoint.evidence import held_out_gain, walk_of
from stopping.changepoint.inference import Parameter, Status, uncertainty
from stopping.changepoint.layer_profile import final_excess
from stopping.changepoint.layout import Layout
from stopping.support.parallel import Workers
from stopping.support.results import Report, Result
from stopping.support.statistics import Interval, clopper_pearson
from stopping.support.store.journal import Journal, sweep
from stopping.support.tables import table
from stopping.support.threads import one_thread

PROMPTS, TOKENS, RUNS = 40, 40, 40
_PERTURBED, _ITERATIONS = 0.1, 300
_DRAWS, _REPLICATES, _EPS_MAX = 4000, 200, 0.5


@dataclass(frozen=True)
class Run:
    """One data set: intervals of parameters called identified, how many hold the truth, misfit."""

    identified: int
    covered: int
    turning: int
    turning_covered: int
    naive: int
    naive_covered: int
    excess: int
    excess_covered: int
    misfit: bool
    predictions_fail: bool
    turns: bool


@dataclass(frozen=True)
class Row:
    """One world; shares with exact 95 % intervals of the runs (of intervals pooled: none).

    Attributes
    ----------
    fits : bool
        Whether the model is right in this world.
    runs : int
    misfit : Interval
        Share of the runs in which the model is said not to fit.
    turns : float
        Share of the runs in which the change point beats the noisy walk on held-out prompts.
    identified, naive : float
        Intervals called identified in a run, on average; and by standard errors alone.
    coverage, turning_coverage, naive_coverage : float or None
        Share of them that hold the truth; None if there are none.
    excess : float
        Share of the runs in which the final layer's latent excess is called identified.
    excess_coverage : float or None
        Share of these in which its interval holds the truth.
    """

    world: str
    fits: bool
    runs: int
    misfit: Interval
    predictions_fail: float
    turns: float
    identified: float
    coverage: float | None
    turning_coverage: float | None
    naive: float
    naive_coverage: float | None
    excess: float
    excess_coverage: float | None


@dataclass(frozen=True)
class Check(Result):
    """The study: a row for each world."""

    prompts: int
    tokens: int
    seed: int
    rows: tuple[Row, ...]

    def items(self) -> tuple[Row, ...]:
        """Worlds."""
        return self.rows

    def report(self, name: str = "") -> Report:
        """One table, and how it reads."""
        rows = table(
            "Worlds whose truth is known: what the fit concludes",
            *("world", "runs", "misfit said", "turns", "identified", "cover", "excess", "cover"),
            *("naive", "cover"),
            caption=f"{self.prompts} prompts of {self.tokens} tokens; turns: the change point beats"
            " the noisy walk on held-out prompts; identified: intervals in a run, and the share"
            " that hold the truth; excess: runs in which the final layer's is; naive: by standard"
            " errors alone",
        )
        for row in self.rows:
            rows.add_row(
                row.world,
                str(row.runs),
                f"{row.misfit.estimate:.0%} [{row.misfit.low:.0%}, {row.misfit.high:.0%}]",
                f"{row.turns:.0%}",
                f"{row.identified:.1f}",
                _share(row.coverage),
                f"{row.excess:.0%}",
                _share(row.excess_coverage),
                f"{row.naive:.1f}",
                _share(row.naive_coverage),
            )
        yield rows


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def check(
    runs: int = RUNS,
    prompts: int = PROMPTS,
    tokens: int = TOKENS,
    seed: int = 0,
    *,
    worlds: Iterable[str] = WORLDS,
    workers: Workers | None = None,
    journal: Path | None = None,
    fresh: bool = False,
    advance: Callable[[int], object] = lambda _: None,
) -> Check:
    """Study `runs` data sets of each world.

    Parameters
    ----------
    prompts, tokens : int
        Prompts of a data set, and tokens of each.
    journal : Path, optional
        Where finished data sets are kept, to resume; other settings are refused.
    """
    worlds = list(worlds)
    settings = {"prompts": prompts, "tokens": tokens, "seed": seed}
    work = {
        f"{world} {number}": partial(one_run, world, prompts, tokens, seed, number)
        for number in range(runs)
        for world in worlds
    }
    kept = Journal.open(journal, settings, fresh)
    found = sweep(work, Run, workers=workers, journal=kept, advance=advance)
    rows = [_row(world, [found[f"{world} {number}"] for number in range(runs)]) for world in worlds]
    return Check(prompts, tokens, seed, tuple(rows))


def _row(world: str, found: list[Run]) -> Row:
    n = len(found)

    def total(name: str) -> int:
        return sum(int(getattr(run, name)) for run in found)

    def share(covered: str, of: str) -> float | None:
        return total(covered) / total(of) if total(of) else None

    return Row(
        world=world,
        fits=WORLDS[world].fits,
        runs=n,
        misfit=clopper_pearson(total("misfit"), n),
        predictions_fail=total("predictions_fail") / n,
        turns=total("turns") / n,
        identified=total("identified") / n,
        coverage=share("covered", "identified"),
        turning_coverage=share("turning_covered", "turning"),
        naive=total("naive") / n,
        naive_coverage=share("naive_covered", "naive"),
        excess=total("excess") / n,
        excess_coverage=share("excess_covered", "excess"),
    )


@one_thread()
def one_run(world: str, prompts: int, tokens: int, seed: int, number: int) -> Run:
    """Draw, fit, and ask; the data set is a function of its arguments alone."""
    # A world's own stream: adding a world changes no other.
    rng = np.random.default_rng([seed, number, *world.encode()])
    truth, (x, prompt) = WORLDS[world].model(), drawn(WORLDS[world], prompts, tokens, rng)
    halves = split(x, prompt, number, len(x))
    layout = layout_for(halves.train, 1, truth.scale)
    start = layout.vector(truth)
    start = start * np.exp(_PERTURBED * rng.standard_normal(len(start)))
    half = fit_near(halves.train, layout, start, _ITERATIONS)
    evidence = held_out_gain(
        half.model, walk_of(half, halves.train, number), halves.test, halves.test_prompt
    )
    predicted = predictive(
        *(half.model, halves.test, halves.test_prompt, _EPS_MAX, number, _REPLICATES, _DRAWS)
    )
    whole = carry_on(half, x)
    errors = uncertainty(whole, x, prompt)
    parameters, misfit = judged(whole, errors, evidence, predicted.p_value, x, prompt)
    values = _truths(layout, truth)
    # A prompt's level is part of where a token starts.
    values["start_sd", 0] = float(np.hypot(values["start_sd", 0], WORLDS[world].shift))

    def count(of: Iterable[Parameter], name: str | None = None) -> tuple[int, int]:
        asked = [
            p
            for p in of
            if p.status is Status.IDENTIFIED and p.name != "weight" and name in (None, p.name)
        ]
        return len(asked), sum(values[p.name, p.index] in p.interval for p in asked)

    identified, turning, naive = (
        count(parameters),
        count(parameters, "turning"),
        count(errors.parameters),
    )
    excess = int(excess_status(evidence, misfit, parameters) is Status.IDENTIFIED)
    held = final_excess(truth) in latent_excess(whole, errors)
    return Run(
        *(*identified, *turning, *naive),
        excess=excess,
        excess_covered=excess * int(held),
        misfit=misfit.found,
        predictions_fail=predicted.p_value < misfit.level,
        turns=evidence.turns,
    )


def _truths(layout: Layout, truth: ChangePointModel) -> dict[tuple[str, int], float]:
    part = truth.components[0]
    return {
        (name, i): float(np.atleast_1d(getattr(part, name))[i])
        for _, name, i in layout.names()
        if name != "weight"
    }
