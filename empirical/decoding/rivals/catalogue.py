"""Texts of decoders: rules on entropies and the rivals of this package, by the one registry."""

from typing import cast

from empirical.decoding.custom import AbstractDecoder
from stopping.errors import UserError
from stopping.rules import AbstractRule, has_window, parse

Decoder = AbstractRule | AbstractDecoder


def parse_decoder(
    text: str,
    window: int | None = None,
    p: float | None = None,
    norm: bool | None = None,
) -> Decoder:
    """Turn `"search"`, `"tolerance:tau=0.5"` or `"dola:norm=off"` into a rule or a rival.

    Parameters
    ----------
    window : int, optional
        The `K` of what has one and whose text does not state it.
    p : float, optional
        The `p` of the search.
    norm : bool, optional
        The `norm` of a rival that has it.

    Raises
    ------
    UserError
        If the text is not understood, or `p` or `norm` is given to what has none or states it.
    """
    return cast(Decoder, parse(text, window, p=p, norm=norm))


def decoder_of(
    rule: str,
    window: object = None,
    p: object = None,
    norm: object = None,
) -> Decoder:
    """Read a decoder from keyword arguments whose values may be texts, as the harness hands them.

    Parameters
    ----------
    rule : str
        Its text, with `,` or `;` between the settings: who reads arguments may split at commas.
    window, p, norm
        As for `parse_decoder`; a window is refused by what has none.

    Raises
    ------
    UserError
        If one is not understood or does not belong to the rule.
    """
    if norm is not None and str(norm).lower() not in ("on", "off", "true", "false"):
        raise UserError(f"norm={norm}: it is on or off")
    found = parse_decoder(
        str(rule),
        None if window is None else whole_number("window", window),
        None if p is None else _number("p", p),
        None if norm is None else str(norm).lower() in ("on", "true"),
    )
    if window is not None and not has_window(found):
        raise UserError(f"window={window}: the rule {rule!r} has no window")
    return found


def whole_number(name: str, value: object) -> int:
    """Read the value of an argument, which may be a text.

    Raises
    ------
    UserError
        If it is no whole number.
    """
    number = _number(name, value)
    if not number.is_integer():
        raise UserError(f"{name}={value}: it must be a whole number")
    return int(number)


def _number(name: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise UserError(f"{name}={value}: it must be a number") from None
