"""Decoders, `K = 4`, that search another score of a layer's distribution than its entropy.

Every one of these scores falls as one token gains on all others that are alike, just as entropy
does: only distributions of different shapes tell them apart.
"""

from collections.abc import Callable

import numpy as np

from stopping.testing import Head
from stopping.testing.reference import shannon_entropy
from tests.conformance.wrong import Wrong
from tests.conformance.wrong.decoder import WINDOW, take
from tests.conformance.wrong.selection import scan

Score = Callable[[np.ndarray], np.ndarray]


def log_softmax(z: np.ndarray) -> np.ndarray:
    y = z - z.max(-1, keepdims=True)
    return y - np.log(np.exp(y).sum(-1, keepdims=True))


def searching(score: Score, states: np.ndarray, head: Head) -> np.ndarray:
    """Decode the layer at which the search of a score of the logits ends."""
    logits = head(states)
    if np.isnan(logits).any():
        raise ValueError("NaN")
    return take(logits, scan(score(logits)))


def squared_logarithms(states: np.ndarray, head: Head) -> np.ndarray:
    """The released code: `-sum (log p)^2`, where `p` has been taken for its logarithm."""
    return searching(lambda z: -(log_softmax(z) ** 2).sum(-1), states, head)


def top_probability(states: np.ndarray, head: Head) -> np.ndarray:
    """Takes the most probable token's probability for confidence."""
    return searching(lambda z: -np.exp(log_softmax(z)).max(-1), states, head)


def margin(states: np.ndarray, head: Head) -> np.ndarray:
    """Takes the lead of the first token over the second for confidence."""

    def score(z: np.ndarray) -> np.ndarray:
        p = np.sort(np.exp(log_softmax(z)), axis=-1)
        return p[..., -2] - p[..., -1]

    return searching(score, states, head)


def gini(states: np.ndarray, head: Head) -> np.ndarray:
    """Takes the chance that two draws differ, `1 - sum p^2`, for uncertainty."""
    return searching(lambda z: 1 - np.exp(2 * log_softmax(z)).sum(-1), states, head)


def renyi_half(states: np.ndarray, head: Head) -> np.ndarray:
    """Renyi's entropy of order 1/2."""
    return searching(lambda z: 2 * np.log(np.exp(log_softmax(z) / 2).sum(-1)), states, head)


def top_logit(states: np.ndarray, head: Head) -> np.ndarray:
    """Takes the largest logit for confidence, without a softmax."""
    return searching(lambda z: -z.max(-1), states, head)


def at_another_temperature(states: np.ndarray, head: Head) -> np.ndarray:
    """Entropy of the distribution that is sampled from, at temperature 2."""
    return searching(lambda z: shannon_entropy(z / 2), states, head)


def of_the_first_two(states: np.ndarray, head: Head) -> np.ndarray:
    """Entropy over the two most probable tokens alone, as a top-k API gives them."""
    return searching(lambda z: shannon_entropy(np.sort(z, axis=-1)[..., -2:]), states, head)


def unnormalised(states: np.ndarray, head: Head) -> np.ndarray:
    """`-sum p log p` of the first two tokens' probabilities, the rest left out."""

    def score(z: np.ndarray) -> np.ndarray:
        logs = np.sort(log_softmax(z), axis=-1)[..., -2:]
        return -(np.exp(logs) * logs).sum(-1)

    return searching(score, states, head)


def perplexity(states: np.ndarray, head: Head) -> np.ndarray:
    """Right: an increasing function of entropy orders layers as entropy does."""
    return searching(lambda z: np.exp(shannon_entropy(z)), states, head)


WRONG = tuple(
    Wrong(function, "decoder", "entropy", WINDOW)
    for function in (
        squared_logarithms,
        top_probability,
        margin,
        gini,
        renyi_half,
        top_logit,
        at_another_temperature,
        of_the_first_two,
        unnormalised,
    )
)
