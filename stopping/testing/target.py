"""The function under test: how it is called, whether it is usable, how a call reads as code."""

import inspect
import textwrap
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stopping.errors import UserError
from stopping.testing.arrays import Framework, to_numpy, torch_in_use
from stopping.testing.chance import reseed, untouched
from stopping.testing.requirement import CallError, Raised

MOST_SAID = 200
"""Characters of an error's message that are repeated."""
TRIES = 4
"""Trivial calls after which a function that has always raised cannot be used."""


def name_of(function: Callable[..., Any]) -> str:
    """Name for reports, such as "my_engine.search:choose"."""
    name = getattr(function, "__qualname__", None)
    return f"{function.__module__}:{name}" if name else repr(function)


def import_line(function: Callable[..., Any]) -> tuple[str, str]:
    """Return the line that imports `function`, and the name it then has."""
    name, module = getattr(function, "__qualname__", None), getattr(function, "__module__", None)
    owner = getattr(function, "__self__", None)
    bound = owner is not None and not inspect.isclass(owner) and not inspect.ismodule(owner)
    if name is None or module is None or "<" in name or bound:
        return "function = ...  # the function under test", "function"
    if module == "__main__":
        return f"# {name}: where you have defined it", name
    top, _, rest = name.partition(".")
    return f"from {module} import {top}", f"{top}.{rest}" if rest else top


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function; whatever it raises becomes `Raised`, its warnings are left to it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            answer = function(*arguments)
            if inspect.iscoroutine(answer):
                answer.close()  # or it complains later that nobody waited for it
            return answer
        except (Exception, SystemExit, GeneratorExit) as error:
            raise Raised(f"raised {in_short(error)}") from error


def in_short(error: BaseException) -> str:
    """Type and first line of an error."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:
        lines = []
    said = textwrap.shorten(lines[0], MOST_SAID, placeholder=" ...") if lines else ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def returned(answer: Any, wanted: str) -> NDArray[Any]:
    """Return what the function gave back as an array of numbers.

    Raises
    ------
    CallError
        If it is nothing of the kind; `wanted` says what it should have been.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = to_numpy(answer)
        except Exception:
            found = np.array(None)
    if found.dtype.kind not in "biufc":
        raise CallError(f"gave back {type(answer).__name__}, not {wanted}")
    return found


def require_usable(
    function: Callable[..., Any],
    arguments: Callable[[Framework], tuple[Any, ...]],
    signature: str,
    framework: Framework,
) -> Framework:
    """Call the function once on trivial input; return the framework that it understands.

    `arguments` makes the trivial input for a framework. With "auto" numpy is tried first, then
    torch where the process has imported it.

    Raises
    ------
    UserError
        If it is not callable, takes other arguments, or raises on trivial input.
    """
    name = name_of(function)
    if not callable(function):
        raise UserError(f"{name}: not callable; expected a function {signature}")
    tried: dict[Framework, str] = {}
    for choice in _choices(framework):
        given = arguments(choice)
        _require_signature(function, name, given, signature)
        try:
            _require_answer(function, given)
        except Raised as error:
            tried[choice] = str(error)
        else:
            return choice
    said = "; ".join(f"with {choice} it {error}" for choice, error in tried.items())
    raise UserError(f"{name}: cannot be used on trivial input, expected {signature}: {said}")


def _require_answer(function: Callable[..., Any], given: tuple[Any, ...]) -> None:
    """Let the function answer; what raises at random can be used, and is found out later."""
    with untouched():
        for attempt in range(TRIES):
            reseed(attempt)
            try:
                call(function, *given)
                return
            except Raised:
                if attempt == TRIES - 1:
                    raise


def _choices(framework: Framework) -> tuple[Framework, ...]:
    if framework != "auto":
        return (framework,)
    return ("numpy", "torch") if torch_in_use() else ("numpy",)


def _require_signature(
    function: Callable[..., Any], name: str, given: tuple[Any, ...], signature: str
) -> None:
    try:
        declared = inspect.signature(function)
    except (TypeError, ValueError):
        # Some built-in functions tell nothing; the call will.
        return
    try:
        declared.bind(*given)
    except TypeError as error:
        raise UserError(f"{name}{declared}: {error}; expected {signature}") from None
