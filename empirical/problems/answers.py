r"""Final answers: their canonical form, and finding them in a model's free text.

Canonical are: an integer (`-12`, `1200`), a decimal without trailing zeros (`3.5`), a fraction in
lowest terms (`5/12`), or words without markup or a final stop (`Ada`, `knave`). The text's last
"the answer is ..." wins; without one the last `\boxed{...}`; without either the last number.
"""

import re
from fractions import Fraction

from empirical.problems.problem import Problem
from stopping.errors import UserError

# Either with commas between groups of three digits, or without; then decimals or a denominator.
_NUMBER = re.compile(
    r"(?<![\w.,/])[-−]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+|/\d+)?|(?<![\w.])[-−]?\.\d+"
)
_MIXED = re.compile(r"(?<![\w.,/])([-−]?)(\d+)\s+(\d+)/(\d+)")
# The rest of the line is looked at, not consumed, so that it may state another answer.
_STATED = re.compile(
    r"\banswer\b(?:\s+is|\s*[:=])(?:\s+is|\s*:)?[ \t]*(?=([^\s][^\n]*))", re.IGNORECASE
)
_FRAC = re.compile(r"\\[dt]?frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")


def extract_answer(text: str) -> str | None:
    """Return the final answer of a free text in canonical form, or None where it has none."""
    for stated in reversed(_STATED.findall(text)):
        if (answer := canonical(_unboxed(stated) or stated)) is not None:
            return answer
    if (boxed := _unboxed(text)) is not None and (answer := canonical(boxed)) is not None:
        return answer
    numbers = _NUMBER.findall(_plain(text))
    return _number(numbers[-1]) if numbers else None


def is_correct(problem: Problem, text: str) -> bool:
    """Whether the final answer of `text` equals the problem's: numbers by value, words by letters.

    Raises
    ------
    UserError
        If the problem has no known answer.
    """
    if not problem.answer:
        raise UserError(f"problem {problem.id}: it has no answer; give it the field 'answer'")
    given = extract_answer(text)
    if given is None:
        return False
    expected = canonical(problem.answer) or problem.answer
    left, right = _value(given), _value(expected)
    if left is None or right is None:
        return given.casefold() == expected.casefold()
    return left == right


def canonical(phrase: str) -> str | None:
    """Bring one answer into canonical form: its number if it has one, else its first clause.

    After an equals sign only what follows counts: `3 × 4 = 12` is 12.
    """
    plain = _plain(phrase).rpartition("=")[2]
    if mixed := _MIXED.search(plain):
        sign, units, top, bottom = mixed.groups()
        if int(bottom):
            value = int(units) + Fraction(int(top), int(bottom))
            return str(-value if sign else value)
    if number := _NUMBER.search(plain):
        return _number(number.group())
    clause = re.split(r"[.,;:!?()\n]", plain.strip(" \t\"'“”‘’:"), maxsplit=1)[0]
    words = re.sub(r"^(?:an?|the)\s+", "", clause.strip(" \t\"'“”‘’-"), flags=re.IGNORECASE)
    return words or None


def _plain(text: str) -> str:
    """The text without markup: TeX fractions and text, thin spaces, dollars, bold, code."""
    text = _TEXT.sub(r" \1", _FRAC.sub(r"\1/\2", text))
    text = re.sub(r"\\[(\[)\]]|\\!|\{,\}|\\[,;]", lambda m: "," if m[0] == "{,}" else "", text)
    return re.sub(r"[\\$€£*_`]", "", text)


def _unboxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{...}`, with its braces matched."""
    start = text.rfind(r"\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len(r"\boxed{")
    for end in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return text[begin:end]
    return None


def _number(written: str) -> str:
    """Canonical form of one match of `_NUMBER`."""
    sign = "-" if written[0] in "-−" else ""
    digits = written.lstrip("-−").replace(",", "")
    if "/" in digits:
        top, _, bottom = digits.partition("/")
        if not bottom.strip("0"):
            return sign + digits
        return str(Fraction(int(sign + top), int(bottom)))
    units, _, rest = digits.partition(".")
    units, rest = units.lstrip("0") or "0", rest.rstrip("0")
    result = f"{units}.{rest}" if rest else units
    return result if result == "0" else sign + result


def _value(answer: str) -> Fraction | None:
    try:
        return Fraction(answer)
    except (ValueError, ZeroDivisionError):
        return None
