"""The zoo of rules that reports compare, and the text form that command lines use."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from stopping.errors import UserError
from stopping.rules.admissible import Guarded, Hedged, HedgedMinimax, Minimax
from stopping.rules.base import AbstractRule
from stopping.rules.fixed import Final, FixedOffset, ForwardExit, WindowMinimum
from stopping.rules.scan import Patience, Search, Shifted, Tolerance

Spec = TypeVar("Spec")

KINDS: dict[str, type[AbstractRule]] = {
    rule.kind: rule
    for rule in (
        Final,
        FixedOffset,
        Search,
        Shifted,
        Tolerance,
        Patience,
        WindowMinimum,
        ForwardExit,
        Guarded,
        Hedged,
        Minimax,
        HedgedMinimax,
    )
}

FROM_FILE = ("bayes", "snell")
"""Rules that stand in a file, made by `stopping fit` and `stopping solve`."""


def zoo(K: int = 10) -> tuple[AbstractRule, ...]:
    """Every deterministic rule that needs no solver, at the settings that reports compare.

    The hedged rules randomise and the minimax rule equals a guarded search wherever the
    assumptions explain the token, so both stay out; `parse_rule` knows them.
    """
    return (
        Final(),
        Search(K),
        *(Shifted(shift, K) for shift in (-2, -1, 1, 2)),
        *(Tolerance(tau, K) for tau in (0.1, 0.5, 1.0)),
        *(Patience(m, K) for m in (1, 2)),
        *(Guarded(guard, K) for guard in (0.1, 0.5)),
        WindowMinimum(K),
        ForwardExit(0.1, K),
        *(FixedOffset(k) for k in (1, 2, 4, 8)),
    )


def parse_rule(text: str) -> AbstractRule:
    """Turn `"search"` or `"tolerance:tau=0.5,K=8"` into a rule.

    Raises
    ------
    UserError
        If the kind or a setting is unknown, missing or of the wrong type.
    """
    kind, _, settings = (part.strip() for part in text.partition(":"))
    if kind in FROM_FILE:
        return _from_file(text, kind, settings)
    return parse_spec(text, KINDS, FROM_FILE)


def parse_spec(text: str, kinds: Mapping[str, type[Spec]], others: tuple[str, ...] = ()) -> Spec:
    """Turn `"kind:setting=value,..."` into an instance of one of the dataclasses `kinds`.

    Settings are numbers, words, or on and off, as the field's type says; `others` are further
    kinds for the error to name.

    Raises
    ------
    UserError
        If the kind or a setting is unknown, missing or of the wrong type.
    """
    kind, _, settings = text.strip().partition(":")
    rule = kinds.get(kind.strip())
    if rule is None:
        known = ", ".join((*kinds, *others))
        raise UserError(f"rule {text!r}: unknown kind {kind!r}; choose from {known}")
    types = {f.name: f.type for f in fields(rule)}  # type: ignore[arg-type]  # every rule is a dataclass
    values: dict[str, object] = {}
    for setting in filter(None, (part.strip() for part in settings.split(","))):
        key, equals, value = (part.strip() for part in setting.partition("="))
        if key not in types or not equals:
            raise UserError(
                f"rule {text!r}: cannot read {setting!r}; "
                f"{kind} takes {', '.join(f'{name}=...' for name in types) or 'no settings'}"
            )
        try:
            values[key] = _read(value, types[key])
        except KeyError:
            raise UserError(f"rule {text!r}: {key} is on or off, got {value!r}") from None
        except ValueError:
            raise UserError(f"rule {text!r}: {key} needs a number, got {value!r}") from None
    try:
        return rule(**values)
    except TypeError as error:
        raise UserError(f"rule {text!r}: {error}") from None


def _read(value: str, kind: object) -> object:
    if kind is bool:
        return {"on": True, "off": False}[value]
    if kind is str:
        return value
    return int(value) if kind is int else float(value)


def _from_file(text: str, kind: str, settings: str) -> AbstractRule:
    """Read a solved rule; what solves them is imported only now, as it knows the other rules."""
    from stopping.snell.rules import load_rule

    key, _, name = (part.strip() for part in settings.partition("="))
    if key != "file" or not name:
        raise UserError(f"rule {text!r}: {kind} needs its file, as in {kind}:file=NAME.json")
    return load_rule(kind, Path(name))
