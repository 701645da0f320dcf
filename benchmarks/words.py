"""How often *holds*, *fails* and *applies* are said where they are not true.

Prompts of `TOKENS` tokens on a window of four layers, whose entropies fall, and rise again on a
fifth of the tokens, with log-losses of mean entropy (times an effect of the prompt of mean one) but
for what is changed:

*right*         nothing: every *fails* is an error, and *holds* and *applies* are not
*gap at edge*   every layer pays exactly the 0.05 nats that do not count more than its entropy:
                *holds*, *fails* of A0 and *applies* are each an error in the limit
*share at edge* on exactly 5 % of the tokens, more in some prompts, the entropies contradict A1 and
                A2: *holds* and *fails* of these are each an error in the limit
*beyond*        both, twice as much: *holds* and *applies* are errors

The truth stands at the very edge of what counts, where an error is likeliest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.measure import save_as_found
from empirical.analysis.audit import audit
from empirical.analysis.audit.calibration import MATERIALITY
from empirical.analysis.audit.verdicts import TOLERATED, Status
from empirical.analysis.validate import validate
from empirical.report.verdict import Guarantee, judge_guarantee
from empirical.traces.files import Traces
from stopping.rules import Search
from stopping.support.statistics import Interval, clopper_pearson

K, TOKENS, REPLICATES = 3, 40, 500
TURNED, ALIKE = 0.2, 20.0
"""Share of tokens that turn two layers before the final one; and how alike prompts are in the share
of tokens that contradict, the sum of the parameters of a beta distribution."""


@dataclass(frozen=True)
class Truth:
    """Gap of every layer in nats, and share of tokens that contradict A1 and A2."""

    gap: float = 0.0
    share: float = 0.0


TRUTHS = {
    "right": Truth(),
    "gap at edge": Truth(gap=MATERIALITY),
    "share at edge": Truth(share=TOLERATED),
    "beyond": Truth(2 * MATERIALITY, 2 * TOLERATED),
}


@dataclass(frozen=True)
class Said:
    """Share of runs in which a word was said of an assumption or of the guarantee."""

    truth: str
    prompts: int
    of: str
    word: str
    runs: int
    share: Interval
    is_error: bool


def traces_of(truth: Truth, prompts: int, rng: np.random.Generator) -> Traces:
    """Draw tokens."""
    n = prompts * TOKENS
    prompt = np.repeat(np.arange(prompts), TOKENS)
    level = rng.gamma(2.0, 0.5, n)
    entropy = level[:, None] + 0.5 * np.arange(K, -1, -1)
    turned = rng.random(n) < TURNED
    entropy[turned] = level[turned, None] + np.array([1.0, 0.0, 0.5, 1.0])
    if truth.share:
        own = rng.beta(ALIKE * truth.share, ALIKE * (1 - truth.share), prompts)
        contradicts = rng.random(n) < own[prompt]
        entropy[contradicts] = level[contradicts, None] + np.array([0.0, 6.0, 0.0, 6.0])
    effect = rng.gamma(400.0, 1 / 400, (prompts, 1))[prompt]
    loss = entropy * effect * rng.gamma(16.0, 1 / 16, (n, 1)) + truth.gap
    zero = np.zeros(n, int)
    top1 = np.zeros((n, K + 1), int)
    return Traces.of(entropy, log_prob=-loss, top1=top1, token=zero, prompt=prompt)


def words(truth: Truth, prompts: int, seed: int) -> dict[str, str]:
    """What is said of each assumption, and of the guarantee."""
    traces = traces_of(truth, prompts, np.random.default_rng(seed))
    found = audit(traces, K, seed, REPLICATES)
    said = {verdict.assumption: str(verdict.status) for verdict in found.verdicts}
    validation = validate(traces, [Search(K)], K, seed, REPLICATES)
    guarantee, _ = judge_guarantee(found, validation)
    return said | {"T2": "applies" if guarantee is Guarantee.APPLIES else "not said"}


def is_error(truth: Truth, of: str, word: str) -> bool:
    """Whether the word is wrong, or no more than the edge allows."""
    if not (truth.gap if of in ("A0", "T2") else truth.share):
        contradicted = of == "T2" and truth.share > TOLERATED
        return word == Status.FAILS or (word == "applies" and contradicted)
    beyond = truth.gap > MATERIALITY if of in ("A0", "T2") else truth.share > TOLERATED
    return not (beyond and word == Status.FAILS)


def table(runs: int, seed: int = 0, sizes: Sequence[int] = (30, 100)) -> Iterator[Said]:
    """Every truth, from the least number of prompts up."""
    for prompts in sizes:
        for name, truth in TRUTHS.items():
            found = [words(truth, prompts, seed + run) for run in range(runs)]
            for of in ("A0", "A1", "A2", "T2"):
                for word in ("applies",) if of == "T2" else ("holds", "fails"):
                    times = sum(said[of] == word for said in found)
                    share = clopper_pearson(times, runs)
                    yield Said(name, prompts, of, word, runs, share, is_error(truth, of, word))


@click.command("words")
@click.option("--runs", default=200, show_default=True, help="Runs of each row.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Default: benchmarks/results.")
def words_benchmark(runs: int, seed: int, out: Path | None) -> None:
    """How often holds, fails and applies are said where they are not true."""

    def line(found: Said) -> str:
        return (
            f"{found.truth}: {found.prompts} prompts, {found.of} {found.word}: "
            f"{found.share.estimate:.1%}{' (error)' if found.is_error else ''}"
        )

    save_as_found("words", table(runs, seed), line, {"runs": runs, "seed": seed}, out)
