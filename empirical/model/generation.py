"""Text that a model goes on with by the settings given here, and by no others.

A model's own `generation_config.json` may ask for beams, penalties, guidance, forced tokens or a
temperature, and transformers takes from it whatever a caller leaves open. Of all that, only what
names tokens is taken: where a text begins, ends and is padded. So greedy means greedy, whatever
model it is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from empirical.model.load import LoadedModel
from empirical.model.wrappers import called_modules

_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def end_tokens(loaded: LoadedModel) -> frozenset[int]:
    """Return the tokens that end a text: the model's, or its tokenizer's where it names none."""
    ends = loaded.model.generation_config.eos_token_id
    if ends is None:
        ends = getattr(loaded.tokenizer, "eos_token_id", None)
    return frozenset([] if ends is None else ends if isinstance(ends, list) else [ends])


def settings(
    loaded: LoadedModel, max_new_tokens: int, temperature: float = 0.0, top_p: float = 1.0
) -> GenerationConfig:
    """Return all settings of a generation; a temperature of 0 takes the most probable token."""
    draws = {"temperature": temperature, "top_p": top_p, "top_k": 0} if temperature > 0 else {}
    return GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=max_new_tokens,
        do_sample=temperature > 0,
        **draws,
        bos_token_id=loaded.model.generation_config.bos_token_id,
        eos_token_id=sorted(end_tokens(loaded)) or None,
        pad_token_id=_pad(loaded),
    )


def continued(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    **hooks: Any,
) -> list[list[int]]:
    """Continue all prompts in one batch, and return what was added to each, padded at its end.

    Parameters
    ----------
    hooks
        What `generate` of transformers calls meanwhile: `logits_processor`, `streamer`.
    """
    width, pad = max(map(len, prompts)), _pad(loaded)
    # Padded on the left, so that every prompt ends where its continuation begins.
    ids = torch.tensor([[pad] * (width - len(prompt)) + [*prompt] for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    chosen = settings(loaded, max_new_tokens, temperature, top_p)
    with torch.inference_mode(), without_own_settings(loaded.model):
        output: Tensor = loaded.model.generate(
            ids.to(loaded.device),
            attention_mask=mask.to(loaded.device),
            generation_config=chosen,
            **hooks,
        )
    rows: list[list[int]] = output[:, width:].tolist()
    return rows


@contextmanager
def without_own_settings(model: Any) -> Iterator[None]:
    """Take a model's own settings away, which fill whatever a caller leaves open, but its tokens.

    Wrappers may have settings of their own, which they hand on.
    """
    own = {
        module: vars(module)["generation_config"]
        for module in called_modules(model)
        if "generation_config" in vars(module)
    }
    for module, settings_of_it in own.items():
        named = {name: getattr(settings_of_it, name, None) for name in _TOKENS}
        vars(module)["generation_config"] = GenerationConfig(**named)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for module, settings_of_it in own.items():
            vars(module)["generation_config"] = settings_of_it


def _pad(loaded: LoadedModel) -> int:
    return int(loaded.tokenizer.pad_token_id or 0)
