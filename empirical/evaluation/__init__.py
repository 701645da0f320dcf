"""Task accuracy: does a rule solve more problems than plain decoding does?

A model answers every problem greedily, once plainly and once under each rule. What a rule gains is
judged on the same problems: the difference in exact-match accuracy, with an interval, and McNemar's
exact test on the problems that only one of the two solves. With several rules, tests and intervals
are adjusted so that 5 % is the error of all of them together.
"""

from empirical.evaluation.answers import Answer, judge, stated_part
from empirical.evaluation.comparison import Group, RuleResult, compare
from empirical.evaluation.paired import Paired, paired, score_interval, sign_flips

__all__ = [
    "Answer",
    "Group",
    "Paired",
    "RuleResult",
    "compare",
    "judge",
    "paired",
    "score_interval",
    "sign_flips",
    "stated_part",
]
