"""Whether a function is right or wrong by chance: its answers to calls with equal input."""

from collections.abc import Callable

CALLS = 10
"""Calls with equal input in each case that asks for equal answers.

One more comes before them: it may still hang on the case before, which is another requirement's
matter.
"""
AGAIN = 50
"""How often a case that failed is judged in all, to see whether it always fails."""
CERTAIN = 10
"""Failures in a row from the first that end this: the answer is wrong every time."""


def other_answers(count: int, calls: int) -> str:
    """Say that `count` answers were others than the usual one."""
    return f"not deterministic: another answer on {count} of {calls} calls with equal input"


def how_often(wrong: Callable[[], bool]) -> str:
    """Ask again what was wrong once; say on how many calls it was, nothing if on each."""
    seen = [True]
    while len(seen) < AGAIN and not (len(seen) == CERTAIN and all(seen)):
        seen.append(wrong())
    if all(seen):
        return ""
    return f"not deterministic: wrong on {sum(seen)} of {len(seen)} calls with equal input"


def repeated(code: str) -> str:
    """Code that makes each of its calls often enough to see the answers differ."""
    loop = f"for _ in range({AGAIN}): print("
    return "\n".join(
        line.replace("print(", loop, 1) if line.startswith("print(") else line
        for line in code.splitlines()
    )
