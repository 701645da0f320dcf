"""A model as the numbers that time depends on, built in or from the config.json of transformers.

Weights are counted in multiply-adds: a token meets each weight of a dense layer once, and of a
mixture of experts those of the experts that it is sent to. Norms, biases and rotary tables are left
out, being thousandths of the rest.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from empirical.published import COST
from empirical.studies.cost.config import sizes_of, text_part
from stopping.errors import UserError
from stopping.support.documents import read_text


@dataclass(frozen=True)
class Shape:
    """Sizes of a model.

    Attributes
    ----------
    name : for tables.
    layers, hidden, vocabulary : int
    shared : weights of the body that every token meets, all layers together.
    expert : weights of one expert's matrices, summed over the layers that have experts.
    experts, experts_per_token : int
        Experts in a layer, and those that a token is sent to; 0 for a dense model.
    cache : key and value numbers that a token leaves behind, all layers together.
    note : what is not known about the model.
    """

    name: str
    layers: int
    hidden: int
    vocabulary: int
    shared: float
    expert: float = 0.0
    experts: int = 0
    experts_per_token: int = 0
    cache: float = 0.0
    note: str = ""

    @property
    def head(self) -> float:
        """Weights of the unembedding, and multiply-adds of one projection."""
        return float(self.hidden * self.vocabulary)

    @property
    def active(self) -> float:
        """Weights of the body that one token meets."""
        return self.shared + self.experts_per_token * self.expert

    def touched(self, tokens: int) -> float:
        """Weights of the body that `tokens` tokens meet together, experts chosen at random."""
        if not self.experts:
            return self.shared
        missed = (1 - self.experts_per_token / self.experts) ** tokens
        return self.shared + self.experts * (1 - missed) * self.expert

    @classmethod
    def of_config(cls, config: Mapping[str, Any], name: str) -> "Shape":
        """Read a model's config.json.

        Raises
        ------
        UserError
            If a size that is needed is missing or no number.
        """
        return cls(name, **sizes_of(text_part(config), name))


def _built_in(name: str, layers: int, heads: int, groups: int, **sizes: int) -> Shape:
    config = {
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": 151_936,
        **sizes,
    }
    return Shape.of_config(config, name)


_PAPER = Shape(
    name="paper-35b-a3b",
    layers=40,
    hidden=COST.hidden,
    vocabulary=COST.vocabulary,
    shared=COST.forward - float(COST.hidden * COST.vocabulary),
    note="the paper states a token's multiply-adds, not the experts: the body is counted as "
    "dense, without a cache; its time at a batch is therefore too low, and overheads too high",
)
SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        _built_in("8b", 36, 32, 8, hidden_size=4096, intermediate_size=12_288, head_dim=128),
        _built_in("32b", 64, 64, 8, hidden_size=5120, intermediate_size=25_600, head_dim=128),
        _built_in(
            "30b-a3b", 48, 32, 4, hidden_size=2048, head_dim=128, num_experts=128,
            num_experts_per_tok=8, moe_intermediate_size=768,
        ),
        _PAPER,
        _built_in(
            "smollm2-135m", 30, 9, 3, hidden_size=576, intermediate_size=1536, vocab_size=49_152
        ),
        _built_in("qwen2.5-0.5b", 24, 14, 2, hidden_size=896, intermediate_size=4864),
    )
}  # fmt: skip


def read_shape(spec: str) -> Shape:
    """Return a shape by name, or from a config.json or a folder that holds one.

    Raises
    ------
    UserError
        If there is neither, or the file does not describe a decoder.
    """
    if spec.lower() in SHAPES:
        return SHAPES[spec.lower()]
    path = Path(spec)
    path = path / "config.json" if path.is_dir() else path
    if not path.is_file():
        raise UserError(
            f"config {spec!r}: neither a file, nor a folder with a config.json, nor one of "
            f"{', '.join(SHAPES)}"
        )
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{spec}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{spec}: not the config.json of a model")
    where = path.resolve()
    name = where.parent.name if where.name == "config.json" else where.stem
    return replace(Shape.of_config(content, name), name=name)
