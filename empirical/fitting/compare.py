r"""Which treatment of skewed, heteroscedastic entropies, and which model: by held-out likelihood.

Half of the prompts, drawn at random, fit each candidate; the log-density of the other half's
tokens, in nats whatever the candidate's scale, judges it. Candidates are

- *treatments* of the change-point model: the scale (nats, logarithm, softplus), latent classes of
  tokens, strata of the final layer's entropy (one model for each third, cut to its stratum so that
  it is a density), heavier tails (classes that differ in scale alone);
- *models* on the chosen scale with as many classes: independent normal layers, one full normal
  covariance, a random walk, a walk with noise. Of these the full covariance contains every moment
  that the change-point model can have without classes or turning points, with more parameters.

The treatment is chosen among those with at most `MOST_CLASSES` classes; more classes go on gaining
likelihood, but their maxima are many, so that two starts no longer agree on where tokens turn. The
row of three shows what that costs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import logsumexp, ndtr

from empirical.intervals import mean, prompt_intervals
from stopping.changepoint import ChangePointModel, Scale, log_likelihood
from stopping.changepoint.ascent import optimise
from stopping.changepoint.estimate import fit, layout_for, random_start, restricted
from stopping.changepoint.evidence import without_turning
from stopping.changepoint.objective import Objective
from stopping.changepoint.tails import fit_tails
from stopping.errors import UserError
from stopping.support.parallel import Workers, in_order
from stopping.support.statistics import Interval
from stopping.support.threads import one_thread
from stopping.types import FloatArray, IntArray

RESOLUTION = 0.01
"""Nats: entropies well below it are alike. The paper calls a token below it certain."""
KNEES = (0.3, 1.0, 3.0)
MOST_CLASSES = 2
STRATA = 3
TOKENS = 3000
_STARTS, _ITERATIONS = 2, 120


@dataclass(frozen=True)
class Treatment:
    """How skewed entropies are treated: the scale, and how many latent classes."""

    scale: Scale
    classes: int

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"{self.scale.name}, {self.classes} class{'es' if self.classes > 1 else ''}"


TREATMENTS = tuple(
    Treatment(scale, classes)
    for classes in range(1, MOST_CLASSES + 1)
    for scale in (Scale(), Scale(RESOLUTION), *(Scale(RESOLUTION, knee) for knee in KNEES))
)
DEFAULT = Treatment(Scale(RESOLUTION, 1.0), MOST_CLASSES)
"""What the bundled traces choose; used where no comparison is asked for."""


@dataclass(frozen=True)
class Candidate:
    """One row: held-out log-density per token, nats, and its difference to the chosen treatment's.

    `parameters` counts free ones; `eligible` says whether it could have been chosen.
    """

    name: str
    parameters: int
    log_likelihood: float
    minus_chosen: Interval
    eligible: bool


@dataclass(frozen=True)
class Comparison:
    """Treatments and simpler models, judged on `tokens` tokens of `prompts` held-out prompts."""

    chosen: Treatment
    treatments: tuple[Candidate, ...]
    models: tuple[Candidate, ...]
    tokens: int
    prompts: int


@dataclass(frozen=True, eq=False)
class Split:
    """Tokens that fit, tokens that judge, and the prompts of the latter."""

    train: FloatArray
    train_prompt: IntArray
    test: FloatArray
    test_prompt: IntArray


def split(x: FloatArray, prompt: IntArray, seed: int, tokens: int = TOKENS) -> Split:
    """Halve the prompts at random, about `tokens` tokens in each half at most.

    Raises
    ------
    UserError
        If there are fewer than four prompts: two must fit and two must judge.
    """
    names, counts = np.unique(prompt, return_counts=True)
    if len(names) < 4:
        raise UserError(
            f"compare: {len(names)} prompt(s); held-out prompts need at least four, two to fit and "
            "two to judge; trace more"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    rows = []
    for half in (order[::2], order[1::2]):
        enough = int(np.searchsorted(counts[half].cumsum(), tokens)) + 1
        rows.append(np.isin(prompt, names[half[: max(enough, 2)]]))
    return Split(x[rows[0]], prompt[rows[0]], x[rows[1]], prompt[rows[1]])


@one_thread()
def compare(
    x: FloatArray,
    prompt: IntArray,
    seed: int = 0,
    jobs: int = 1,
    replicates: int = 200,
    tokens: int = TOKENS,
) -> Comparison:
    """Judge treatments and models on held-out prompts of tokens `x`, (n, w), nats.

    `jobs` worker processes; the result does not depend on it.

    Raises
    ------
    UserError
        If there are fewer than four prompts, or too few tokens to fit a candidate.
    """
    parts = split(x, prompt, seed, tokens)
    free = [(t, True) for t in TREATMENTS] + [(Treatment(DEFAULT.scale, MOST_CLASSES + 1), False)]
    asked: list[tuple[Callable[..., tuple[int, FloatArray]], tuple[object, ...]]] = [
        *((_of_treatment, (t,)) for t, _ in free),
        (_of_strata, ()),
        (_of_tails, ()),
    ]
    workers = Workers(jobs)
    found = list(in_order((partial(ask, parts, seed, *rest) for ask, rest in asked), workers))
    eligible = [wanted for _, wanted in free] + [False, False]
    names = [t.name for t, _ in free]
    names += [f"nats, {STRATA} strata of the final layer", "nats, heavier tails (3 scales)"]
    means = [float(density.mean()) for _, density in found]
    best = max((i for i, ok in enumerate(eligible) if ok), key=lambda i: means[i])
    chosen = free[best][0]
    simple: list[tuple[str, Callable[..., tuple[int, FloatArray]], tuple[Treatment, bool]]] = [
        ("independent layers", _of_normals, (chosen, False)),
        ("full covariance", _of_normals, (chosen, True)),
        ("random walk", _of_walk, (chosen, False)),
        ("noisy walk", _of_walk, (chosen, True)),
    ]
    walks = in_order((partial(ask, parts, seed, *rest) for _, ask, rest in simple), workers)
    rows = _rows(
        [*names, *(name for name, _, _ in simple)],
        [*found, *walks],
        found[best][1],
        [*eligible, *[False] * len(simple)],
        (parts.test_prompt, seed, replicates),
    )
    return Comparison(
        chosen=chosen,
        treatments=tuple(rows[: len(names)]),
        models=(rows[best], *rows[len(names) :]),
        tokens=len(parts.test),
        prompts=len(np.unique(parts.test_prompt)),
    )


def _rows(
    names: Sequence[str],
    found: Sequence[tuple[int, FloatArray]],
    best: FloatArray,
    eligible: Sequence[bool],
    resampling: tuple[IntArray, int, int],
) -> list[Candidate]:
    ratios = {str(i): mean(density - best) for i, (_, density) in enumerate(found)}
    intervals = prompt_intervals(ratios, *resampling)
    return [
        Candidate(name, parameters, float(density.mean()), intervals[str(i)], ok)
        for i, (name, (parameters, density), ok) in enumerate(
            zip(names, found, eligible, strict=True)
        )
    ]


def _of_treatment(parts: Split, seed: int, treatment: Treatment) -> tuple[int, FloatArray]:
    layout = layout_for(parts.train, treatment.classes, treatment.scale)
    found = fit(
        parts.train, parts.train_prompt, layout, seed, starts=_STARTS, iterations=_ITERATIONS
    )
    return layout.free, log_likelihood(found.model, parts.test)


def _of_strata(parts: Split, seed: int) -> tuple[int, FloatArray]:
    """One model for each stratum of the final layer's entropy, cut to it: a density."""
    cuts = np.quantile(parts.train[:, -1], np.arange(1, STRATA) / STRATA)
    ends = np.concatenate([[-np.inf], cuts, [np.inf]])
    own, other = (np.digitize(part[:, -1], cuts) for part in (parts.train, parts.test))
    density, parameters = np.empty(len(parts.test)), STRATA - 1
    for s in range(STRATA):
        mine, theirs = own == s, other == s
        layout = layout_for(parts.train[mine], 1, Scale())
        model = fit(
            *(parts.train[mine], parts.train_prompt[mine], layout, seed),
            starts=_STARTS,
            iterations=_ITERATIONS,
        ).model
        within = _mass(model, ends[s], ends[s + 1])
        density[theirs] = log_likelihood(model, parts.test[theirs]) + np.log(mine.mean() / within)
        parameters += layout.free
    return parameters, density


def _mass(model: ChangePointModel, low: float, high: float) -> float:
    """`P(low < x[L] < high)` of a model of one class in nats."""
    component = model.components[0]
    moments = [component.moments(v) for v in range(model.w)]
    mean = np.array([m.mean[-1] for m in moments])
    spread = np.sqrt([m.observed[-1, -1] for m in moments])
    return float(component.turning @ (ndtr((high - mean) / spread) - ndtr((low - mean) / spread)))


def _of_tails(parts: Split, seed: int) -> tuple[int, FloatArray]:
    layout = layout_for(parts.train, 3, Scale())
    model = fit_tails(parts.train, layout, seed, _ITERATIONS)
    one = layout_for(parts.train, 1, Scale())
    return one.free + 4, log_likelihood(model, parts.test)


def _of_walk(parts: Split, seed: int, treatment: Treatment, noisy: bool) -> tuple[int, FloatArray]:
    full = layout_for(parts.train, treatment.classes, treatment.scale)
    layout = restricted(full, turns=False, noisy=noisy)
    objective, rng = Objective.of(layout, parts.train), np.random.default_rng(seed)
    starts = [
        without_turning(layout, full, random_start(full, objective.z, rng)) for _ in range(_STARTS)
    ]
    ends = [optimise(objective, start, _ITERATIONS) for start in starts]
    theta = max(ends, key=lambda end: end[0])[1]
    return layout.free, log_likelihood(layout.model(theta), parts.test)


def _of_normals(
    parts: Split, seed: int, treatment: Treatment, full: bool
) -> tuple[int, FloatArray]:
    """A mixture of normal laws on the treatment's scale, by EM from classes of level."""
    scale, classes = treatment.scale, treatment.classes
    z, w = scale.of(parts.train), parts.train.shape[1]
    level = z.mean(axis=1)
    member = np.digitize(level, np.quantile(level, np.arange(1, classes) / classes))
    belief = np.eye(classes)[member]
    floor = 1e-6 * float(z.var())
    for _ in range(_ITERATIONS if classes > 1 else 1):
        size = belief.sum(axis=0)
        means = (belief.T @ z) / size[:, None]
        covariances = []
        for c in range(classes):
            centred = z - means[c]
            own = (belief[:, c, None] * centred).T @ centred / size[c]
            covariances.append((own if full else np.diag(np.diag(own))) + floor * np.eye(w))
        joint = _normal_densities(z, size / size.sum(), means, covariances)
        before, belief = belief, np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        if np.abs(belief - before).max() < 1e-4:
            break
    test = scale.of(parts.test)
    joint = _normal_densities(test, size / size.sum(), means, covariances)
    density = logsumexp(joint, axis=1) + scale.log_slope(parts.test).sum(axis=1)
    one = w + (w * (w + 1) // 2 if full else w)
    return classes * one + classes - 1, density


def _normal_densities(
    z: FloatArray, weights: FloatArray, means: FloatArray, covariances: Sequence[FloatArray]
) -> FloatArray:
    columns = []
    for weight, mean_, covariance in zip(weights, means, covariances, strict=True):
        root = np.linalg.cholesky(covariance)
        whitened = np.linalg.solve(root, (z - mean_).T)
        half = np.log(np.diag(root)).sum() + z.shape[1] * np.log(2 * np.pi) / 2
        columns.append(np.log(weight) - half - (whitened**2).sum(axis=0) / 2)
    return np.column_stack(columns)
