"""Multi-step reasoning problems in words, with graded difficulty and exact answers.

They are the prompts along which real language models are traced. The built-in families
(`arithmetic`, `rates`, `ages`, `change`, `logic`) are generated from a seed (`generate`); a user's
own prompts come from a JSONL file (`read_prompts`). A template is a pure function that draws the
quantities of a small world, tells it as a story, and works out the answer step by step; see
`empirical.problems.draft` for what a difficulty means.
"""

from empirical.problems.answers import canonical, extract_answer, is_correct
from empirical.problems.generator import DIFFICULTIES, FAMILIES, generate
from empirical.problems.jsonl import read_prompts, to_jsonl, to_row
from empirical.problems.problem import Problem, prompts_hash

__all__ = [
    "DIFFICULTIES",
    "FAMILIES",
    "Problem",
    "canonical",
    "extract_answer",
    "generate",
    "is_correct",
    "prompts_hash",
    "read_prompts",
    "to_jsonl",
    "to_row",
]
