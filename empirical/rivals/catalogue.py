"""All decoders by their specs: the rules of `stopping.rules` and the rivals of this package."""

from dataclasses import fields, replace
from typing import Any

from empirical.decoder.custom import AbstractDecoder
from empirical.rivals.base import AbstractContrast, AbstractRival
from empirical.rivals.calm import Calm
from empirical.rivals.dola import DoLa
from empirical.rivals.released import ReleasedScore
from empirical.rivals.sled import SLED
from stopping.errors import UserError
from stopping.rules import AbstractRule, Search
from stopping.rules.catalogue import KINDS, parse_spec

RIVALS: dict[str, type[AbstractRival]] = {
    rival.kind: rival for rival in (DoLa, SLED, Calm, ReleasedScore)
}
_ALL: dict[str, Any] = {**KINDS, **RIVALS}


def parse_decoder(
    text: str, p: float | None = None, norm: bool | None = None
) -> AbstractRule | AbstractDecoder:
    """Turn `"search"`, `"tolerance:tau=0.5"` or `"dola:norm=off"` into a rule or a rival.

    Parameters
    ----------
    p : float, optional
        Sets the `p` of the search.
    norm : bool, optional
        Sets `norm` of a rival that has it.

    Raises
    ------
    UserError
        If the spec is not understood, or `p` or `norm` is given to what has none.
    """
    decoder: AbstractRule | AbstractDecoder = parse_spec(text, _ALL)
    if p is not None:
        if not isinstance(decoder, Search):
            raise UserError(f"--p belongs to the rule search; {text!r} has no p")
        decoder = replace(decoder, p=p)
    if norm is not None:
        if not isinstance(decoder, AbstractContrast):
            having = ", ".join(k for k, r in RIVALS.items() if issubclass(r, AbstractContrast))
            raise UserError(f"--norm belongs to {having}; {text!r} has no such setting")
        decoder = replace(decoder, norm=norm)  # type: ignore[type-var]
    return decoder


def decoder_of(
    rule: str,
    window: int | None = None,
    p: float | None = None,
    norm: str | bool | None = None,
) -> AbstractRule | AbstractDecoder:
    """Read a decoder from keyword arguments whose values may be texts.

    Parameters
    ----------
    rule : str
        A spec, with `,` or `;` between its settings: who reads arguments may split at commas.
    window, p, norm
        Set `K`, `p` and `norm` of what has them.

    Raises
    ------
    UserError
        If one is not understood or does not belong to the rule.
    """
    if norm is not None and str(norm).lower() not in ("on", "off", "true", "false"):
        raise UserError(f"norm={norm}: it is on or off")
    decoder = parse_decoder(
        str(rule).replace(";", ","),
        None if p is None else _number("p", p),
        None if norm is None else str(norm).lower() in ("on", "true"),
    )
    if window is None:
        return decoder
    if "K" not in {f.name for f in fields(decoder)}:  # type: ignore[arg-type]  # each is a dataclass
        raise UserError(f"window={window}: the rule {rule!r} has no window")
    return replace(decoder, K=int(_number("window", window)))  # type: ignore[type-var]  # as above


def _number(name: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise UserError(f"{name}={value}: it must be a number") from None
