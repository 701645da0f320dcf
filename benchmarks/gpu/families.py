"""The table of `book/pages/architectures.md`, found out anew on this device."""

from collections.abc import Iterator

from book._tools.architectures import Finding, look_at
from tests.empirical.model.families import FAMILIES, REFUSED, build


def findings(device: str, quick: bool) -> Iterator[Finding]:
    """Look at the tiny model of every family, in float32."""
    offered = [family for family in (*FAMILIES, *REFUSED) if family.offered]
    for family in offered[:2] if quick else offered:
        yield look_at(family, build(family).to(device))
