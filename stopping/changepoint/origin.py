"""What a model was fitted on: it says nothing of another LLM's entropies, nor of another lens's."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stopping.errors import UserError


@dataclass(frozen=True)
class FittedOn:
    """An LLM, as read through a lens.

    Attributes
    ----------
    model : str
        Its name; empty if unknown, which fits any.
    depth : int
        Number of its layers.
    lens : str
        Name of the lens.
    weights : mapping of str to str
        SHA-256 of its weights, by file name: the same weights are the same LLM by whatever name.
    """

    model: str
    depth: int
    lens: str = "raw"
    weights: Mapping[str, str] = field(default_factory=dict)

    def require(self, what: str, other: "FittedOn") -> None:
        """Raise a UserError if `what`, which was fitted on this, is to be used on another LLM."""
        if self.depth == other.depth and self.lens == other.lens and self._same_model(other):
            return
        raise UserError(
            f"{what}: the model was fitted on {self}, and these are {other}; fit one for them with "
            "`stopping fit`"
        )

    def _same_model(self, other: "FittedOn") -> bool:
        if self.weights and other.weights:
            return sorted(self.weights.values()) == sorted(other.weights.values())
        return not (self.model and other.model) or _last(self.model) == _last(other.model)

    def __str__(self) -> str:
        return f"entropies of {self.model or 'a model'} ({self.depth} layers, {self.lens} lens)"


def _last(name: str) -> str:
    """A hub id and a local folder of its name are one model."""
    return name.rstrip("/").rpartition("/")[2].lower()
