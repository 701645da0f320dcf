"""How answers to Omni-MATH and HLE are graded without a judge.

**Omni-MATH** has answers in LaTeX. The text's last boxed expression (else whatever math-verify
finds) is compared with the reference by math-verify, which parses both and compares values, sets,
intervals and equations. Answers that are proofs or sentences cannot be graded so and count as
wrong, for plain decoding and for any rule alike.

**HLE** asks for a line `Exact Answer: ...`; the last such line is compared with the reference after
both are stripped of case, spaces, LaTeX dollars and a final stop. The official metric asks a judge
model instead, which also accepts another wording: exact match is a lower bound of it.
"""

import re
import threading
from typing import Any

_STATED = re.compile(r"(?:exact\s+)?answer\s*\**\s*:\s*\**\s*(.+)", re.IGNORECASE)


def omni_math(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Grade one answer of Omni-MATH, 1 or 0."""
    return {"exact_match": float(same_mathematics(str(doc["answer"]), results[0]))}


def hle(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Grade one answer of HLE by exact match, 1 or 0."""
    given = stated_answer(results[0])
    return {"exact_match": float(given is not None and same_words(str(doc["answer"]), given))}


def hle_exact_match(dataset: Any) -> Any:
    """Keep the questions without an image whose answer is a short text."""
    return dataset.filter(
        lambda doc: not doc.get("image") and doc.get("answer_type") == "exactMatch"
    )


def same_mathematics(reference: str, text: str) -> bool:
    """Whether the mathematics that a text ends with is that of the reference."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    configs = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    # Its clock is a signal, which works in the main thread only.
    limit = 5 if threading.current_thread() is threading.main_thread() else None
    gold = parse(f"${reference}$", extraction_config=configs, parsing_timeout=limit)
    given = parse(text, extraction_config=configs, parsing_timeout=limit)
    return bool(gold and given and verify(gold, given, timeout_seconds=limit))


def stated_answer(text: str) -> str | None:
    """Return what the last line `Answer: ...` or `Exact Answer: ...` says."""
    found = _STATED.findall(text)
    return found[-1].strip() if found else None


def same_words(a: str, b: str) -> bool:
    """Whether two short answers are the same but for case, spaces, dollars and a final stop."""
    return _plain(a) == _plain(b) != ""


def _plain(text: str) -> str:
    return re.sub(r"[\s$*]+", "", text).casefold().rstrip(".")
