"""Whether new prompts look like those that a certificate was made on.

A certificate holds for prompts that are exchangeable with its own. That can be refuted: whatever is
computed of each prompt, all orders of exchangeable prompts are equally likely, so a difference
between both sets that few random divisions show is evidence against it. It cannot be shown: a
difference that the statistics do not see remains possible.
"""

from dataclasses import dataclass

import numpy as np

from empirical.analysis.certify.core import choose
from empirical.traces.files import Traces
from stopping.errors import UserError
from stopping.rules import AbstractRule
from stopping.support.results import Report, Result
from stopping.types import FloatArray

LEVEL = 0.05
DIVISIONS = 4999
STATISTICS = ("final entropy", "depth of the choice", "drop promised", "tokens")


@dataclass(frozen=True)
class Exchange(Result):
    """Permutation test of "the new prompts are exchangeable with the old ones".

    Attributes
    ----------
    differences : dict
        New minus old mean of each statistic of a prompt, in its standard deviations.
    p_value : float
        Of the largest of them.
    """

    prompts: int
    new_prompts: int
    differences: dict[str, float]
    p_value: float

    @property
    def differ(self) -> bool:
        """Whether exchangeability is refuted at 5 %."""
        return self.p_value <= LEVEL

    def report(self) -> Report:
        """One sentence or two."""
        name, most = max(self.differences.items(), key=lambda item: abs(item[1]))
        seen = f"largest difference {most:+.2f} standard deviations, of {name}".replace("-", "−")
        if self.differ:
            yield (
                f"The new prompts differ from those of the certificate (p = {self.p_value:.2g}, "
                f"{seen}): it says nothing about them. Make one on prompts of their kind."
            )
        else:
            yield (
                f"No difference between the new prompts and those of the certificate is seen "
                f"(p = {self.p_value:.2g}, {seen}). That is no proof that there is none."
            )


def exchange(old: Traces, new: Traces, rule: AbstractRule, seed: int = 0) -> Exchange:
    """Compare the prompts of two sets of traces of one model.

    Raises
    ------
    UserError
        If they are of different models or lenses, or a set has fewer than two prompts.
    """
    if old.provenance.read_as != new.provenance.read_as:
        raise UserError(
            f"exchange: the traces are of {old.provenance.read_as} and {new.provenance.read_as}; "
            "both must be of one model, read through one lens"
        )
    tables = [statistics(traces, rule, seed) for traces in (old, new)]
    sizes = [len(table) for table in tables]
    if min(sizes) < 2:
        raise UserError(f"exchange: {min(sizes)} prompt(s) in one of the files; needs two or more")
    pooled = np.concatenate(tables)
    spread = pooled.std(axis=0)
    pooled = (pooled - pooled.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    rng = np.random.default_rng(seed)
    # The mean of a set that sums to 0 with the other tells the difference of both.
    scale = 1 / sizes[1] + 1 / sizes[0]
    found = pooled[sizes[0] :].sum(axis=0) * scale
    drawn = np.array(
        [
            np.abs(pooled[rng.permutation(len(pooled))[: sizes[1]]].sum(axis=0) * scale).max()
            for _ in range(DIVISIONS)
        ]
    )
    beyond = np.count_nonzero(drawn >= np.abs(found).max() * (1 - 1e-12))
    return Exchange(
        prompts=sizes[0],
        new_prompts=sizes[1],
        differences=dict(zip(STATISTICS, found.tolist(), strict=True)),
        p_value=(1 + beyond) / (1 + DIVISIONS),
    )


def statistics(traces: Traces, rule: AbstractRule, seed: int) -> FloatArray:
    """What is compared of each prompt, without its references, shape (prompts, statistics)."""
    choice = choose(rule, traces, np.random.default_rng(seed))
    x = traces.entropy.astype(np.float64)
    _, index, counts = np.unique(traces.prompt, return_inverse=True, return_counts=True)
    chosen = x[np.arange(len(x)), choice]
    by_token = (x[:, -1], x.shape[1] - 1.0 - choice, x[:, -1] - chosen)
    means = [np.bincount(index, column) / counts for column in by_token]
    return np.column_stack([*means, counts])
