"""From problems to tokens: the prompt as the model expects it, and the completion after it.

The completion is either the problem's own solution (*reference*) or the model's greedy
continuation (*generated*) up to its end of text. Its tokens, without that end, are what is traced
afterwards, with the model reading the text that was given (teacher forcing).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from empirical.model.load import LoadedModel
from empirical.prompts import Part, encode_parts, parts_of
from empirical.provenance import Mode
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
    group: str = ""

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


def encode_prompt(loaded: LoadedModel, prompt: str, chat: bool) -> list[int]:
    """Tokenise a prompt, as the user's message of a chat or as a text to go on with.

    Raises
    ------
    UserError
        If the prompt does not reach the model whole.
    """
    return encode_parts(loaded, parts_of(loaded, prompt, chat), begins=not chat)


def reference_texts(
    loaded: LoadedModel, problems: Sequence[tuple[int, "Problem"]], chat: bool
) -> list[Text]:
    """Tokenise each (index, problem) with its own solution as the completion."""
    return [
        _text(index, problem, *_split(loaded, problem, index, chat), loaded)
        for index, problem in problems
    ]


def texts_of(
    loaded: LoadedModel,
    problems: Sequence["Problem"],
    mode: Mode,
    chat: bool,
    max_new_tokens: int,
    advance: Callable[[int], None] = lambda count: None,
    batch: int = 8,
    first: int = 0,
) -> list[Text]:
    """Prompts with their own solutions, or with what the model writes, `batch` at a time.

    `advance` is told how many more are done; `first` is the number of the first prompt.
    """
    numbered = list(enumerate(problems, first))
    found: list[Text] = []
    for start in range(0, len(numbered), batch):
        some = numbered[start : start + batch]
        if mode == "generated":
            found += generated_texts(loaded, some, chat, max_new_tokens)
        else:
            found += reference_texts(loaded, some, chat)
        advance(len(some))
    return found


def generated_texts(
    loaded: LoadedModel,
    problems: Sequence[tuple[int, "Problem"]],
    chat: bool,
    max_new_tokens: int,
    processor: Callable[[int], Any] | None = None,
) -> list[Text]:
    """Let the model continue each prompt greedily, all prompts in one batch.

    A completion ends before its end of text, or after `max_new_tokens`. `processor` makes, of the
    length of the padded prompts, a logits processor of transformers to go before the choice.
    """
    from empirical.model.generation import continued, end_tokens

    prompts = [encode_prompt(loaded, _asked(problem, chat), chat) for _, problem in problems]
    for (index, problem), prompt in zip(problems, prompts, strict=True):
        _require_fits(loaded, index, problem.id, len(prompt) + max_new_tokens)
    before = None if processor is None else [processor(max(map(len, prompts)))]
    rows = continued(loaded, prompts, max_new_tokens, logits_processor=before)
    ends = end_tokens(loaded)
    return [
        _text(index, problem, prompt, _until(ids, ends), loaded)
        for (index, problem), prompt, ids in zip(problems, prompts, rows, strict=True)
    ]


def _asked(problem: "Problem", chat: bool) -> str:
    return problem.prompt if chat else f"{problem.prompt}\n"


def _split(
    loaded: LoadedModel, problem: "Problem", index: int, chat: bool
) -> tuple[list[int], list[int]]:
    """Tokenise prompt and solution together, as the model would see them, and cut between them."""
    prompt = parts_of(loaded, _asked(problem, chat), chat)
    solution = Part(problem.solution)
    ids = encode_parts(loaded, prompt, begins=not chat)
    whole = encode_parts(loaded, (*prompt, solution), begins=not chat)
    if whole[: len(ids)] == ids:
        return ids, whole[len(ids) :]
    # A token straddles the border: keep the border, give up the merge.
    return ids, encode_parts(loaded, (solution,), begins=False)


def _until(ids: list[int], ends: Collection[int]) -> list[int]:
    return ids[: next((place for place, token in enumerate(ids) if token in ends), len(ids))]


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
        group=problem.group,
    )


def _require_fits(loaded: LoadedModel, index: int, name: str, length: int) -> None:
    if loaded.context is not None and length > loaded.context:
        raise UserError(
            f"prompt {index} ({name}): {length} tokens with its completion, but {loaded.name} "
            f"reads at most {loaded.context}; shorten the prompt or lower --max-new-tokens"
        )
