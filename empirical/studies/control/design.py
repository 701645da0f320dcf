"""What a perturbation is but for its size; `write` makes it."""

from dataclasses import dataclass
from enum import StrEnum

from stopping.errors import UserError


class Shape(StrEnum):
    """Where and whereto the write goes; see the module."""

    AFTER = "after"
    INSIDE = "inside"
    SHARP = "sharp"
    TUNED = "tuned"


@dataclass(frozen=True)
class Design:
    """A perturbation but for its size.

    Attributes
    ----------
    shape : Shape
    m : int
        Layers that write.
    seed : int
        Draws the generic words.
    """

    shape: Shape = Shape.AFTER
    m: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.m < 1:
            raise UserError(f"layers: at least one must write, got {self.m}")
