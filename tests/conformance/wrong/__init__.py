"""Deliberately wrong implementations, each with the one requirement that must catch it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stopping.testing import Kind


@dataclass(frozen=True)
class Wrong:
    """A wrong function, the requirement that names its mistake, and its conventions."""

    function: Callable[..., Any]
    kind: Kind
    caught_by: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}-{getattr(self.function, '__name__', type(self.function).__name__)}"
