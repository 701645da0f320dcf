"""Does the estimator find what made the data, and do its intervals cover at their rate?

Tokens are drawn from a known model, optionally with a shift in common to all tokens of a prompt
(which the model does not have), fitted from a vector near the truth, and each true parameter is
asked whether its interval holds it. Coverage is a proportion of independent replications, so its
own interval is binomial (Clopper and Pearson).
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from stopping.changepoint.estimate import fit_near
from stopping.changepoint.inference import Parameter, Status, interval_of, uncertainty
from stopping.changepoint.layout import Layout
from stopping.changepoint.model import ChangePointModel
from stopping.support.parallel import Workers, in_order
from stopping.support.statistics import Interval, clopper_pearson
from stopping.types import BoolArray, FloatArray

PERTURBED = 0.1


@dataclass(frozen=True, eq=False)
class Recovery:
    """What became of the true parameters, for those that were identified in every replication.

    Attributes
    ----------
    names : tuple of str
        Parameter with its index.
    truth, mean : ndarray, shape (m,)
        True value, and mean estimate over replications.
    spread : ndarray, shape (m,)
        Standard deviation of the estimates.
    by_prompts, by_information : ndarray of bool, shape (replications, m)
        Whether the interval by prompts, or by information alone, holds the truth.
    """

    names: tuple[str, ...]
    truth: FloatArray
    mean: FloatArray
    spread: FloatArray
    by_prompts: BoolArray
    by_information: BoolArray

    def coverage(self, by_prompts: bool = True, level: float = 0.95) -> Interval:
        """Share of all intervals that cover, with the binomial interval of its replications.

        Parameters of one replication are dependent, so the number of trials is that of the
        replications, not of the intervals: a conservative reading.
        """
        held = self.by_prompts if by_prompts else self.by_information
        n = len(held)
        return clopper_pearson(round(float(held.mean()) * n), n, level)

    def each(self, by_prompts: bool = True) -> FloatArray:
        """Coverage of each parameter, (m,)."""
        held = self.by_prompts if by_prompts else self.by_information
        share: FloatArray = held.mean(axis=0)
        return share


def recover(
    model: ChangePointModel,
    prompts: int,
    tokens: int,
    replications: int,
    seed: int = 0,
    jobs: int = 1,
    prompt_shift: float = 0.0,
) -> Recovery:
    """Fit tokens drawn from `model`, again and again.

    Parameters
    ----------
    prompts, tokens : int
        Prompts in each replication, and tokens of each prompt.
    prompt_shift : float
        Standard deviation, on the model's scale, of a level in common to a prompt's tokens.
    jobs : int
        Worker processes; the result does not depend on it.
    """
    seeds = np.random.SeedSequence(seed).spawn(replications)
    one = partial(_replication, model, prompts, tokens, prompt_shift)
    found = list(in_order((partial(one, s) for s in seeds), Workers(jobs)))
    rows = [[parameter for parameter in r if parameter.name != "weight"] for r in found]
    usable = [
        j for j in range(len(rows[0])) if all(row[j].status is Status.IDENTIFIED for row in rows)
    ]
    layout = _layout(model)
    vector = {
        (c, name, i): value
        for (c, name, i), value in zip(layout.names(), layout.vector(model), strict=True)
    }
    truth = np.array(
        [
            model.components[p.group].turning[p.index]
            if p.name == "turning"
            else vector[p.group, p.name, p.index]
            for p in (rows[0][j] for j in usable)
        ]
    )
    estimates = np.array([[row[j].estimate for j in usable] for row in rows])
    kinds = [
        "probability" if rows[0][j].name == "turning" else rows[0][j].name[-2:] for j in usable
    ]
    naive = [
        [
            interval_of(row[j].estimate, row[j].by_information, k)
            for j, k in zip(usable, kinds, strict=True)
        ]
        for row in rows
    ]
    return Recovery(
        names=tuple(f"{rows[0][j].name}[{rows[0][j].index}]" for j in usable),
        truth=truth,
        mean=estimates.mean(axis=0),
        spread=estimates.std(axis=0),
        by_prompts=np.array(
            [[t in row[j].interval for j, t in zip(usable, truth, strict=True)] for row in rows]
        ),
        by_information=np.array(
            [[t in i for i, t in zip(row, truth, strict=True)] for row in naive]
        ),
    )


def _layout(model: ChangePointModel) -> Layout:
    return Layout(model.w, len(model.components), model.scale, 1.0, model.components[0].types)


def _replication(
    model: ChangePointModel,
    prompts: int,
    tokens: int,
    shift: float,
    seed: np.random.SeedSequence,
) -> tuple[Parameter, ...]:
    rng = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(prompts), tokens)
    z = model.scale.of(model.sample(rng, len(prompt)).x)
    z = z + shift * rng.standard_normal(prompts)[prompt, None]
    layout = _layout(model)
    truth = layout.vector(model)
    near = truth * np.exp(PERTURBED * rng.standard_normal(len(truth)))
    x = model.scale.nats(z)
    return uncertainty(fit_near(x, layout, near), x, prompt).parameters
