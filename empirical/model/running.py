"""How a model runs just now, as its configuration tells it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


def tied(model: nn.Module) -> bool:
    """Whether input and output embeddings are one matrix."""
    config: Any = getattr(model, "config", None)
    return bool(getattr(config, "tie_word_embeddings", False))


def drafts(model: nn.Module, depth: int) -> bool:
    """Whether a model that speculates with its own first layers runs those alone just now."""
    config: Any = getattr(model, "config", None)
    if config is None:
        return False
    running = getattr(config.get_text_config(decoder=True), "num_hidden_layers", depth)
    return bool(running < depth)


@contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """Let `generate` step through the model's plain call instead of a compiled one."""
    model.__dict__["get_compiled_call"] = lambda config: model
    try:
        yield
    finally:
        del model.__dict__["get_compiled_call"]
