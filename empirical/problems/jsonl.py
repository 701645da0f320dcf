"""Problems as JSON Lines: one object per line, UTF-8.

Required is the string `prompt` and, for a model that is led through given texts, the string
`reference`, the completion. Optional are the strings `answer`, `family`, `template`, `group`, `id`
and the integer `difficulty`, 1 to 4, or 0 for unknown. `group` names what prompts have in common
that are no independent draws (a document, a user); without it, prompts of one `template` are a
group, where that is given. Other fields are passed over, and so are blank lines.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from empirical.problems.problem import Problem, template_group
from stopping.errors import UserError


def to_jsonl(problems: Sequence[Problem]) -> str:
    """Write problems so that `read_prompts` reads back the same."""
    return "".join(json.dumps(to_row(problem), ensure_ascii=False) + "\n" for problem in problems)


def to_row(problem: Problem) -> dict[str, str | int]:
    """Return the JSON object of a problem."""
    row: dict[str, str | int] = {
        "id": problem.id,
        "family": problem.family,
        "template": problem.template,
        "difficulty": problem.difficulty,
        "prompt": problem.prompt,
        "reference": problem.solution,
        "answer": problem.answer,
    }
    derived = template_group(problem.family, problem.template)
    return row if problem.group == derived else row | {"group": problem.group}


def read_prompts(path: str | Path, references: bool = True) -> tuple[Problem, ...]:
    """Read problems from a JSONL file; a problem without an id gets `user/` and its line number.

    Without `references`, the field `reference` may be missing: a model that writes its own
    completions needs none.

    Raises
    ------
    UserError
        If the file cannot be read, is empty, or a line is not UTF-8, not JSON, lacks a field, has a
        field of the wrong type or an id for the second time. The message names file and line.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        problem = _problem(_parsed(line, where), where, number, references)
        if problem.id in lines:
            raise UserError(
                f"{where}: the id {problem.id!r} stands already in line {lines[problem.id]}; "
                "give each problem its own"
            )
        lines[problem.id] = number
        problems.append(problem)
    if not problems:
        raise UserError(
            f"{path}: the file is empty; write one JSON object per line, such as "
            '{"prompt": "What is 2 + 2?", "reference": "2 + 2 = 4."}'
        )
    return tuple(problems)


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: not UTF-8 (byte {error.start + 1} of the line); save the file as UTF-8"
        ) from error
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where}: not JSON ({error.msg}, column {error.colno}); "
            "write one whole JSON object per line"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not usable as JSON ({error})") from error
    if not isinstance(row, dict):
        raise UserError(f"{where}: a JSON object in braces is needed, not {_named(row)}")
    return row


def _problem(row: dict[str, Any], where: str, number: int, references: bool) -> Problem:
    difficulty = row.get("difficulty", 0)
    if type(difficulty) is not int or not 0 <= difficulty <= 4:
        raise UserError(
            f"{where}: 'difficulty' should be an integer from 1 to 4, or 0 for unknown, "
            f"not {json.dumps(difficulty)[:40]}"
        )
    family = _string(row, "family", where, "user")
    template = _string(row, "template", where, family)
    group = template_group(family, template) if "template" in row else ""
    return Problem(
        id=_string(row, "id", where, f"user/{number:06d}"),
        family=family,
        template=template,
        difficulty=difficulty,
        prompt=_string(row, "prompt", where),
        solution=_string(row, "reference", where, None if references else ""),
        answer=_string(row, "answer", where, ""),
        group=group if "group" not in row else _string(row, "group", where, ""),
    )


def _string(row: dict[str, Any], field: str, where: str, default: str | None = None) -> str:
    """Return a field's text; required, and then not blank, where there is no default."""
    if field not in row:
        if default is None:
            raise UserError(f"{where}: the field '{field}' is missing")
        return default
    value = row[field]
    if not isinstance(value, str):
        raise UserError(f"{where}: '{field}' should be a string, not {_named(value)}")
    if not value.strip() and default != "":
        raise UserError(f"{where}: '{field}' is empty")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: '{field}' holds half a surrogate pair (\\ud800-\\udfff)"
        ) from error
    return value


def _named(value: object) -> str:
    names = {dict: "an object", list: "a list", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a string" if isinstance(value, str) else "a number")
