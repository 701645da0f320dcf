"""From problems to tokens: the prompt as the model expects it, and the completion after it.

The completion is either the problem's own solution (*reference*) or the model's greedy
continuation (*generated*). In both cases its tokens, without any special token, are what is
traced afterwards, with the model reading the text that was given (teacher forcing).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from empirical.models import LoadedModel
from stopping.errors import UserError

if TYPE_CHECKING:
    from empirical.problems import Problem

Chat = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Text:
    """One prompt and its completion, as token ids.

    `prompt` is the prompt's index in the list of problems.
    """

    prompt: int
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    difficulty: int = 0
    family: str = ""

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt and completion."""
        return self.prompt_ids + self.completion_ids

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


def uses_chat(loaded: LoadedModel, chat: Chat) -> bool:
    """Whether prompts go through the tokenizer's chat template.

    Raises
    ------
    UserError
        If `chat` is "on" and the tokenizer has no template.
    """
    has_template = bool(getattr(loaded.tokenizer, "chat_template", None))
    if chat == "on" and not has_template:
        raise UserError(
            f"{loaded.name}: the tokenizer has no chat template; leave out --chat on, or use a "
            "model tuned for chat"
        )
    return has_template and chat != "off"


def reference_texts(
    loaded: LoadedModel, problems: Sequence[tuple[int, "Problem"]], chat: bool
) -> list[Text]:
    """Tokenise each (index, problem) with its own solution as the completion."""
    return [
        _text(
            index,
            problem,
            *_split(loaded.tokenizer, _prompt(loaded, problem, chat), problem.solution, chat),
            loaded,
        )
        for index, problem in problems
    ]


def generated_texts(
    loaded: LoadedModel,
    problems: Sequence[tuple[int, "Problem"]],
    chat: bool,
    max_new_tokens: int,
    processor: Callable[[int], Any] | None = None,
) -> list[Text]:
    """Let the model continue each prompt greedily, all prompts in one batch.

    A completion ends before its first special token, or after `max_new_tokens`. `processor` makes,
    of the length of the padded prompts, a logits processor of transformers to go before the choice.
    """
    import torch
    from transformers import GenerationConfig

    tokenizer = loaded.tokenizer
    prompts = [_encode(tokenizer, _prompt(loaded, problem, chat), chat) for _, problem in problems]
    for (index, problem), prompt in zip(problems, prompts, strict=True):
        _require_fits(loaded, index, problem.id, len(prompt) + max_new_tokens)
    stops = _stop_tokens(loaded)
    width = max(map(len, prompts))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    # Padded on the left, so that every prompt ends where its continuation begins.
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        repetition_penalty=1.0,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(stops) or None,
        pad_token_id=pad,
    )
    with torch.inference_mode():
        output = loaded.model.generate(
            ids.to(loaded.device),
            attention_mask=mask.to(loaded.device),
            generation_config=settings,
            **({} if processor is None else {"logits_processor": [processor(width)]}),
        )
    return [
        _text(index, problem, prompt, _until(continued, stops), loaded)
        for (index, problem), prompt, continued in zip(
            problems, prompts, output[:, width:].tolist(), strict=True
        )
    ]


def _prompt(loaded: LoadedModel, problem: "Problem", chat: bool) -> str:
    if not chat:
        return f"{problem.prompt}\n"
    message = [{"role": "user", "content": problem.prompt}]
    text: str = loaded.tokenizer.apply_chat_template(
        message, tokenize=False, add_generation_prompt=True
    )
    return text


def _split(tokenizer: Any, prompt: str, completion: str, chat: bool) -> tuple[list[int], list[int]]:
    """Tokenise both together, as the model would see them, and cut between them."""
    ids, whole = _encode(tokenizer, prompt, chat), _encode(tokenizer, prompt + completion, chat)
    if whole[: len(ids)] == ids:
        return ids, whole[len(ids) :]
    # A token straddles the border: keep the border, give up the merge.
    return ids, tokenizer.encode(completion, add_special_tokens=False)


def _encode(tokenizer: Any, text: str, chat: bool) -> list[int]:
    # A chat template writes the special tokens itself.
    ids: list[int] = tokenizer.encode(text, add_special_tokens=not chat)
    return ids


def _stop_tokens(loaded: LoadedModel) -> set[int]:
    """Return the special tokens, and whatever else the model's settings call an end of text."""
    stops = set(loaded.tokenizer.all_special_ids)
    ends = getattr(loaded.model.generation_config, "eos_token_id", None)
    stops |= set(ends if isinstance(ends, list) else [] if ends is None else [ends])
    return stops


def _until(ids: list[int], stops: set[int]) -> list[int]:
    end = next((place for place, token in enumerate(ids) if token in stops), len(ids))
    return ids[:end]


def _text(
    index: int,
    problem: "Problem",
    prompt_ids: list[int],
    completion_ids: list[int],
    loaded: LoadedModel,
) -> Text:
    _require_fits(loaded, index, problem.id, len(prompt_ids) + len(completion_ids))
    return Text(
        prompt=index,
        prompt_ids=tuple(prompt_ids),
        completion_ids=tuple(completion_ids),
        difficulty=problem.difficulty,
        family=problem.family,
    )


def _require_fits(loaded: LoadedModel, index: int, name: str, length: int) -> None:
    if loaded.context is not None and length > loaded.context:
        raise UserError(
            f"prompt {index} ({name}): {length} tokens with its completion, but {loaded.name} "
            f"reads at most {loaded.context}; shorten the prompt or lower --max-new-tokens"
        )
