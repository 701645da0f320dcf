"""Multi-step reasoning problems in words, with graded difficulty and exact answers.

They are the prompts along which real language models are traced. A seed chooses among the built-in
ones (`draw_problems`), 4,000 from 25 templates in the families `arithmetic`, `rates`, `ages`,
`change` and `logic`; a user's own prompts come from a JSONL file (`read_prompts`). A built-in
problem's difficulty is the number of steps of its worked solution: 1 or 2, 2 or 3, 3 or 4, 5 or
more.
"""

from empirical.problems.answers import canonical, extract_answer, is_correct
from empirical.problems.built_in import DIFFICULTIES, draw_problems
from empirical.problems.jsonl import read_prompts, to_jsonl, to_row
from empirical.problems.problem import Problem, prompts_hash

__all__ = [
    "DIFFICULTIES",
    "Problem",
    "canonical",
    "draw_problems",
    "extract_answer",
    "is_correct",
    "prompts_hash",
    "read_prompts",
    "to_jsonl",
    "to_row",
]
