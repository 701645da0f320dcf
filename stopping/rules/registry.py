"""The one reader of a rule's text: `"search"`, `"tolerance:tau=0.5,K=8"`, `"snell:file=RULE.json"`.

A text is a *kind*, and after a colon its settings, with commas or semicolons between them. Every
command, the harness and `custom_generate` read texts here, so that each kind is known to all of
them. Kinds are classes, imported only when a text names them: those of this package stand in a
table, those of other packages join by an entry point of the group `stopping.rules`.

A class of a kind is a dataclass whose fields are its settings. One with a classmethod `from_file`
stands in a file, and its text names that file.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from stopping.errors import UserError
from stopping.rules.admissible import Guarded
from stopping.rules.base import AbstractKind, AbstractRule, settings_of
from stopping.rules.fixed import Final, FixedOffset, ForwardExit, WindowMinimum
from stopping.rules.scan import Patience, Search, Shifted, Tolerance

ENTRY_POINT_GROUP = "stopping.rules"

OWN: dict[str, str] = {
    "final": "stopping.rules.fixed:Final",
    "offset": "stopping.rules.fixed:FixedOffset",
    "search": "stopping.rules.scan:Search",
    "shifted": "stopping.rules.scan:Shifted",
    "tolerance": "stopping.rules.scan:Tolerance",
    "patience": "stopping.rules.scan:Patience",
    "minimum": "stopping.rules.fixed:WindowMinimum",
    "forward": "stopping.rules.fixed:ForwardExit",
    "guarded": "stopping.rules.admissible:Guarded",
    "hedged": "stopping.rules.admissible:Hedged",
    "minimax": "stopping.rules.admissible:Minimax",
    "hedged-minimax": "stopping.rules.admissible:HedgedMinimax",
    "hedged-minimum": "stopping.rules.admissible:HedgedMinimum",
    "adaptive": "stopping.rules.admissible:Adaptive",
    "bayes": "stopping.optimal.rules:Bayes",
    "snell": "stopping.optimal.rules:Snell",
}
"""Kinds of this package and their classes."""


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


def kinds() -> tuple[str, ...]:
    """Every kind that a text may name, those of other packages last."""
    return (*OWN, *sorted(_joined()))


def parse_rule(text: str, window: int | None = None) -> AbstractRule:
    """Turn a text into a rule on entropies.

    Parameters
    ----------
    text : str
    window : int, optional
        The `K` of a rule that has one and whose text does not state it.

    Raises
    ------
    UserError
        If the kind or a setting is unknown, missing or of the wrong type, or the kind is no rule
        on entropies.
    """
    found = parse(text, window)
    if not isinstance(found, AbstractRule):
        raise UserError(
            f"rule {text!r}: {found.kind} decodes from logits and is no rule on entropies; use it "
            "with generate, evaluate, paper or lm-eval"
        )
    return found


def parse(text: str, window: int | None = None, **given: object) -> AbstractKind:
    """Turn a text into a rule or another decoder.

    Parameters
    ----------
    text : str
    window : int, optional
        The `K` of what has one and whose text does not state it.
    given
        Further settings by name; those that are None are left out.

    Raises
    ------
    UserError
        If the kind or a setting is unknown, missing or of the wrong type, if the text states a
        setting that is given too, or the kind has no such setting.
    """
    kind, _, rest = (part.strip() for part in text.strip().partition(":"))
    cls = _class_of(kind, text)
    load = getattr(cls, "from_file", None)
    if load is not None:
        values: dict[str, object] = {}
        found: AbstractKind = load(_file(text, kind, rest))
    else:
        values = _values(text, kind, rest, cls)
        found = _made(text, cls, values)
    for name, value in given.items():
        if value is None:
            continue
        if name not in settings_of(cls):
            having = ", ".join(with_setting(name)) or "no rule"
            raise UserError(f"rule {text!r} has no setting {name}; it belongs to {having}")
        if name in values:
            raise UserError(f"rule {text!r} states {name}, and {name}={value} is given: keep one")
        values[name] = value
        found = _made(text, cls, values)
    if window is not None and has_window(found) and "K" not in values:
        found = replace(found, K=window)  # type: ignore[type-var]  # it has this field
    return found


def has_window(found: AbstractKind | type[AbstractKind]) -> bool:
    """Whether `K` is one of its settings."""
    return "K" in settings_of(found)


def with_setting(name: str) -> tuple[str, ...]:
    """Installed kinds that have a setting of this name."""
    found = []
    for kind in kinds():
        with suppress(UserError):  # one that needs a missing extra
            if name in settings_of(_class_of(kind, kind)):
                found.append(kind)
    return tuple(found)


def _joined() -> Mapping[str, Any]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def _class_of(kind: str, text: str) -> type[AbstractKind]:
    if kind in OWN:
        module, _, name = OWN[kind].partition(":")
        found: type[AbstractKind] = getattr(import_module(module), name)
        return found
    entry = _joined().get(kind)
    if entry is None:
        known = ", ".join(kinds())
        raise UserError(f"rule {text!r}: unknown kind {kind!r}; choose from {known}")
    try:
        loaded: type[AbstractKind] = entry.load()
    except ImportError as error:
        raise UserError(f"rule {text!r}: cannot be loaded ({error}): an extra?") from None
    return loaded


def _file(text: str, kind: str, rest: str) -> Path:
    key, _, name = (part.strip() for part in rest.partition("="))
    if key != "file" or not name:
        raise UserError(f"rule {text!r}: {kind} needs its file, as in {kind}:file=NAME.json")
    return Path(name)


def _values(text: str, kind: str, rest: str, cls: type[AbstractKind]) -> dict[str, object]:
    types = settings_of(cls)
    values: dict[str, object] = {}
    for setting in filter(None, (part.strip() for part in re.split("[,;]", rest))):
        key, equals, value = (part.strip() for part in setting.partition("="))
        if key not in types or not equals:
            raise UserError(
                f"rule {text!r}: cannot read {setting!r}; "
                f"{kind} takes {', '.join(f'{name}=...' for name in types) or 'no settings'}"
            )
        if key in values:
            raise UserError(f"rule {text!r}: {key} is stated twice")
        try:
            values[key] = _read(value, types[key])
        except KeyError:
            raise UserError(f"rule {text!r}: {key} is on or off, got {value!r}") from None
        except ValueError:
            raise UserError(f"rule {text!r}: {key} needs a number, got {value!r}") from None
    return values


def _made(text: str, cls: type[AbstractKind], values: Mapping[str, object]) -> AbstractKind:
    try:
        return cls(**values)
    except TypeError as error:
        raise UserError(f"rule {text!r}: {error}") from None


def _read(value: str, kind: object) -> object:
    if kind is bool:
        return {"on": True, "off": False}[value]
    if kind is str:
        return value
    return int(value) if kind is int else float(value)
