"""The empirical counterpart of the Bayes rule: predict each layer's log-loss, take the least.

A Bayes rule is as good as its model. Here nothing is assumed of the entropies: a regression learns

    E[log-loss of l - log-loss of L | what the window shows]

from tokens whose reference is known, and the rule decodes the layer of least prediction, if that is
below zero by a margin, else `L`. It is trained on some prompts and judged on others
(cross-fitting), so every token is judged by a rule that never saw its prompt.

`observations` is what a rule may look at, `regressors` the two regressions, `crossfit` training and
choosing, `theory` the rules of a fitted model, cross-fitted in the same way, `outcome` what they
win or lose, why, and how many tokens would show a gain of a given size.
"""

from empirical.fitting.learning.observations import Observations, observe
from empirical.fitting.learning.outcome import learn
from empirical.fitting.learning.results import Learned, LearnedRow

__all__ = ["Learned", "LearnedRow", "Observations", "learn", "observe"]
