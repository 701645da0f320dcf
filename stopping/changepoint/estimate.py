"""Maximum likelihood: several starts on part of the tokens, the best of them continued on all.

Mixtures have many local maxima. Each start deals the tokens to classes by a random reading of
their level, gives turning points and spreads at random, and optimises for `SHORT` iterations on
whole prompts drawn at random, about `PART` tokens. The best `CONTINUED` starts are optimised on
`SAMPLE` tokens and then on all (`ascent`), and the highest end is the estimate. What is reported is
what a user needs to judge it: the log-likelihood at which every start ended, and the gain in
log-likelihood that one more Newton step promises, `g' |I|^-1 g / 2` over all tokens, in nats. A
promise below one nat is convergence in the sense that statistics asks for; steps go on to far
below, since on flat ground half a standard error is seen in print.

On its long way from a random start L-BFGS magnifies rounding tenfold every eight iterations. Where
tops are many, another processor may therefore end on another of them; `lead` says how far two ends
lie apart. From the same start near a top, Newton steps lead to the same digits everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from stopping.changepoint.ascent import PROMISE, newton, optimise
from stopping.changepoint.component import Component
from stopping.changepoint.layout import FinalNoise, Layout
from stopping.changepoint.model import ChangePointModel
from stopping.changepoint.objective import Objective
from stopping.changepoint.scale import Scale
from stopping.errors import UserError
from stopping.model.windows import as_batch
from stopping.support.parallel import Workers, in_order
from stopping.support.threads import one_thread
from stopping.types import FloatArray, IntArray

STARTS, CONTINUED = 8, 2
PART, SAMPLE = 4_000, 12_000
SHORT, LONG, NEWTON = 60, 300, 80
TOKENS_PER_PARAMETER = 2


@dataclass(frozen=True, eq=False)
class Estimate:
    """A maximum of the likelihood, and how it was reached.

    Attributes
    ----------
    model : ChangePointModel
    layout, theta
        The parameter vector and what its entries mean.
    tokens : int
        Tokens that were fitted.
    log_likelihood : float
        Mean per token, of densities in nats.
    starts : tuple of float
        Mean log-likelihood per token at which each start ended on its part of the tokens.
    lead : float
        Mean log-likelihood per token by which the highest end of a continued start beat the next;
        NaN if one was. Zero means that both found the same maximum.
    ends : tuple of ndarray
        Where the continued starts ended, the highest first, which is `theta`.
    promised_gain : float
        Log-likelihood, over all tokens, that one more Newton step promises, nats.
    evaluations : int
        Likelihoods with gradient on the way to it, after its start.
    """

    model: ChangePointModel
    layout: Layout
    theta: FloatArray
    tokens: int
    log_likelihood: float
    starts: tuple[float, ...]
    lead: float
    ends: tuple[FloatArray, ...]
    promised_gain: float
    evaluations: int

    @property
    def converged(self) -> bool:
        """Whether a further step promises less than `PROMISE`."""
        return self.promised_gain < PROMISE


def layout_for(
    x: ArrayLike,
    classes: int,
    scale: Scale,
    types: Sequence[str] | None = None,
    final_noise: FinalNoise = "none",
) -> Layout:
    """Shape of an estimate for tokens `x`, (n, w), with optional names of the layers' types.

    Raises
    ------
    UserError
        If an entropy is not finite or below the scale, there are too few tokens or layers, a layer
        does not vary, or the types do not fit.
    """
    x = as_batch(x, "x")
    w = x.shape[1]
    if w < 2:
        raise UserError("fit: one layer has no drift to fit; give a window of two or more")
    if types is not None and len(types) != w:
        raise UserError(f"types: {len(types)} layer types for a window of {w} layers")
    names = list(dict.fromkeys(types or ()))
    kinds = np.array([names.index(t) for t in types] if types else [0] * w, dtype=np.intp)
    z = scale.of(x)
    spread = z.std(axis=0) if len(z) else np.zeros(w)
    layout = Layout(w, classes, scale, float(spread.mean()) or 1.0, kinds, final_noise)
    needed = TOKENS_PER_PARAMETER * layout.free
    if len(x) < needed:
        raise UserError(
            f"fit: {len(x)} tokens for {layout.free} parameters; give at least {needed} tokens, a "
            "shorter window, or fewer classes"
        )
    constant = np.flatnonzero(spread == 0)
    if len(constant):
        raise UserError(
            f"fit: all tokens have the same entropy at column(s) {constant.tolist()} of the "
            "window; a constant layer has no noise to fit, leave it out"
        )
    return layout


@one_thread()
def fit(
    x: ArrayLike,
    prompt: ArrayLike,
    layout: Layout,
    seed: int = 0,
    starts: int = STARTS,
    jobs: int = 1,
    iterations: int = LONG,
) -> Estimate:
    """Fit by maximum likelihood.

    Parameters
    ----------
    x : array_like, shape (n, w)
        Observed entropies on the window, nats.
    prompt : array_like, shape (n,)
        Prompt of each token; starts look at whole prompts.
    layout : Layout
        From `layout_for`, on the same tokens.
    jobs : int
        Worker processes for the starts; the result does not depend on it.
    """
    observed, prompts = as_batch(x, "x"), np.asarray(prompt)
    z = layout.scale.of(observed)
    rng = np.random.default_rng(seed)
    part, sample = (_some_prompts(prompts, size, rng) for size in (PART, SAMPLE))
    small = Objective(layout, z[part], np.ones(len(part)))
    seeds = np.random.SeedSequence(seed).spawn(starts)
    warm = (partial(_warm_start, small, s) for s in seeds)
    found = list(in_order(warm, Workers(min(jobs, starts))))
    found.sort(key=lambda end: -end[0])
    middle = Objective(layout, z[sample], np.ones(len(sample)))
    steps = min(NEWTON, iterations // 4)
    best = [theta for _, theta in found[:CONTINUED]]
    longer = (partial(_continued, middle, theta, iterations, steps) for theta in best)
    ends = list(in_order(longer, Workers(min(jobs, len(best)))))
    slopes = layout.scale.log_slope(observed).sum(axis=1)
    return _highest(
        layout,
        observed,
        [theta for theta, _ in ends],
        steps,
        jobs,
        starts=tuple(end[0] + float(slopes[part].mean()) for end in found),
        evaluations=sum(made for _, made in ends),
    )


@one_thread()
def fit_near(x: ArrayLike, layout: Layout, theta: FloatArray, iterations: int = LONG) -> Estimate:
    """Fit tokens `x`, (n, w), nats, from a vector near the top, such as the truth."""
    observed = as_batch(x, "x")
    _, end, evaluations = optimise(Objective.of(layout, observed), theta, iterations)
    return _highest(layout, observed, [end], NEWTON, jobs=1, evaluations=evaluations)


@one_thread()
def carry_on(estimate: Estimate, x: ArrayLike, jobs: int = 1) -> Estimate:
    """Optimise from all ends of an estimate on other tokens of the same kind, such as all of them.

    `jobs` worker processes; the result does not depend on it.
    """
    return _highest(
        *(estimate.layout, as_batch(x, "x"), estimate.ends, NEWTON, jobs),
        starts=estimate.starts,
        evaluations=estimate.evaluations,
    )


def _highest(
    layout: Layout,
    x: FloatArray,
    ends: Sequence[FloatArray],
    steps: int,
    jobs: int,
    *,
    starts: tuple[float, ...] = (),
    evaluations: int,
) -> Estimate:
    """Newton steps from every end, on tokens `x`, (n, w), nats; `starts` and `evaluations` told."""
    objective = Objective.of(layout, x)
    ascents = (partial(newton, objective, theta, steps) for theta in ends)
    tops = list(in_order(ascents, Workers(min(jobs, len(ends)))))
    tops.sort(key=lambda top: -top[0])
    value, theta, gain = tops[0]
    return Estimate(
        model=layout.model(theta),
        layout=layout,
        theta=theta,
        tokens=len(x),
        log_likelihood=value + float(layout.scale.log_slope(x).sum(axis=1).mean()),
        starts=starts,
        lead=value - tops[1][0] if len(tops) > 1 else float("nan"),
        ends=tuple(theta for _, theta, _ in tops),
        promised_gain=gain,
        evaluations=evaluations,
    )


def _warm_start(objective: Objective, seed: np.random.SeedSequence) -> tuple[float, FloatArray]:
    theta = random_start(objective.layout, objective.z, np.random.default_rng(seed))
    value, theta, _ = optimise(objective, theta, SHORT)
    return value, theta


def _continued(
    objective: Objective, theta: FloatArray, iterations: int, steps: int
) -> tuple[FloatArray, int]:
    _, theta, evaluations = optimise(objective, theta, iterations)
    return newton(objective, theta, steps)[1], evaluations


def _some_prompts(prompt: IntArray, size: int, rng: np.random.Generator) -> IntArray:
    """Rows of whole prompts drawn at random, `size` tokens or just more; all if there are fewer."""
    names, counts = np.unique(prompt, return_counts=True)
    order = rng.permutation(len(names))
    names, counts = names[order], counts[order]
    enough = int(np.searchsorted(counts.cumsum(), min(size, len(prompt)))) + 1
    return np.flatnonzero(np.isin(prompt, names[:enough]))


def random_start(layout: Layout, z: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Deal the tokens to classes by a random reading of their level, and guess from moments."""
    K = layout.w - 1
    level = z @ rng.dirichlet(np.ones(layout.w))
    cuts = np.quantile(level, np.arange(1, layout.classes) / layout.classes)
    member = np.digitize(level, cuts)
    components = []
    for c in range(layout.classes):
        mine = z[member == c] if np.count_nonzero(member == c) > layout.w else z
        steps = np.diff(mine, axis=1)
        spread = steps.std(axis=0) + 0.01 * layout.spread
        jitter = np.exp(0.3 * rng.standard_normal((5, K)))
        ups = np.maximum(steps, 0.0).sum(axis=0) / np.maximum((steps > 0).sum(axis=0), 1)
        least = 0.05 * layout.spread
        components.append(
            Component(
                start_mean=float(mine[:, 0].mean()),
                start_sd=float(mine[:, 0].std()) + least,
                drift_mean=np.maximum(-steps.mean(axis=0), least) * jitter[0],
                drift_sd=0.6 * spread * jitter[1],
                rise_mean=np.maximum(ups, least) * jitter[2],
                rise_sd=0.6 * spread * jitter[3],
                noise_sd=np.append(0.4 * spread * jitter[4], 0.0),
                turning=rng.dirichlet(np.append(np.ones(K), 3.0)),
                jump_sd=np.full(int(layout.types.max()), 0.3 * float(spread.mean())),
                types=layout.types,
            )
        )
    weights = np.full(layout.classes, 1 / layout.classes)
    return layout.vector(ChangePointModel(tuple(components), weights, layout.scale))


def restricted(layout: Layout, *, turns: bool = True, noisy: bool = True) -> Layout:
    """The same layout without turning points or without noise: walks to compare with."""
    return replace(layout, turns=turns, noisy=noisy)
