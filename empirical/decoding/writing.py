"""Text as it comes: a prompt in, decoded tokens out one by one, each with its layer."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from empirical.decoding.custom import AbstractDecoder
from empirical.decoding.decoding import PAPER_RULE, ConfidentDecoding
from empirical.decoding.steps import Steps
from empirical.lenses import AbstractLens
from empirical.model.generation import continued, end_tokens
from empirical.model.load import LoadedModel
from empirical.texts import Chat, encode_prompt, uses_chat
from stopping.errors import UserError
from stopping.rules import AbstractRule
from stopping.support.results import Report, Result

# A character of several tokens shows as this until its last token has come.
_INCOMPLETE = "\ufffd"


@dataclass(frozen=True)
class Token:
    """One written token.

    `text` is what it adds to the text: nothing before a character is complete. `final_text` is what
    the final layer would have said, None where that is the same.
    `entropy` is the observed entropy of the chosen layer, in nats.
    """

    id: int
    text: str
    layer: int
    depth: int
    entropy: float
    final_text: str | None


@dataclass(frozen=True, eq=False)
class Writing(Result):
    """A finished continuation.

    Attributes
    ----------
    tokens, steps
        The tokens whose characters are in the text, and what was decoded at each.
    ended : bool
        Whether the model ended the text itself.
    """

    tokens: tuple[Token, ...]
    steps: Steps
    ended: bool
    prompt_tokens: int
    seconds: float

    @property
    def text(self) -> str:
        """The continuation, without the end of text."""
        return "".join(token.text for token in self.tokens)

    @property
    def summary(self) -> str:
        """One line of averages."""
        found = self.steps.summary()
        return f"{found}; {found.tokens / self.seconds:.1f} tokens/s"

    def items(self) -> tuple[Token, ...]:
        """Tokens."""
        return self.tokens

    def report(self) -> Report:
        """The text, its first tokens and where they come from, and averages."""
        yield self.text
        yield from super().report()
        yield self.summary


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; a temperature of 0 takes the most probable one."""

    max_new_tokens: int = 200
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


def encode(loaded: LoadedModel, prompt: str, chat: bool) -> list[int]:
    """Tokenise a prompt, as the user's message of a chat or as text to go on with.

    Raises
    ------
    UserError
        If the prompt is empty, does not reach the model whole, or leaves its context no room to
        go on.
    """
    if not prompt.strip():
        raise UserError("prompt: it is empty; say what the model shall continue or answer")
    ids = encode_prompt(loaded, prompt, chat)
    if loaded.context is not None and len(ids) >= loaded.context:
        raise UserError(
            f"prompt: {len(ids):,} tokens, but {loaded.name} reads at most {loaded.context:,} with "
            "its answer; shorten the prompt"
        )
    return ids


def decode(
    loaded: LoadedModel,
    prompt: str,
    rule: AbstractRule | AbstractDecoder | str = PAPER_RULE,
    *,
    lens: AbstractLens | None = None,
    chat: Chat = "auto",
    max_new_tokens: int = 200,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> Writing:
    """Continue a prompt, each token from the layer that a rule chooses.

    Parameters
    ----------
    rule, lens
        As `ConfidentDecoding` takes them.
    chat : {"auto", "on", "off"}
        Whether the prompt goes through the tokenizer's chat template.
    temperature, top_p, seed
        How tokens are drawn; at a temperature of 0 the most probable one is taken.

    Raises
    ------
    UserError
        As `ConfidentDecoding`; if the prompt is empty or does not fit; or if there is no template
        and `chat` is "on".
    """
    ids = encode(loaded, prompt, uses_chat(loaded, chat))
    decoding = ConfidentDecoding(loaded.model, rule, lens, seed)
    sampling = Sampling(max_new_tokens, temperature, top_p, seed)
    return write(loaded, decoding, ids, sampling, lambda token: None)


def write(
    loaded: LoadedModel,
    decoding: ConfidentDecoding,
    prompt_ids: Sequence[int],
    sampling: Sampling,
    on_token: Callable[[Token], None],
) -> Writing:
    """Continue a prompt up to the end of the text, the token limit or the end of the context.

    `decoding` must not be attached; `on_token` hears each token as soon as it is there.
    """
    room = sampling.max_new_tokens
    if loaded.context is not None:
        room = min(room, loaded.context - len(prompt_ids))
    listener = _Listener(loaded.tokenizer, decoding, end_tokens(loaded), on_token)
    torch.manual_seed(sampling.seed)
    began = time.monotonic()
    with decoding:
        continued(
            loaded, [prompt_ids], room, sampling.temperature, sampling.top_p, streamer=listener
        )
    seconds = time.monotonic() - began
    steps = decoding.statistics.at([[0]], np.arange(len(listener.tokens)))
    return Writing(tuple(listener.tokens), steps, listener.ended, len(prompt_ids), seconds)


class _Listener:
    """A streamer of transformers: hears the prompt first, then token after token."""

    def __init__(
        self,
        tokenizer: Any,
        decoding: ConfidentDecoding,
        ends: frozenset[int],
        on_token: Callable[[Token], None],
    ) -> None:
        self.tokens: list[Token] = []
        self.ended = False
        self._tokenizer, self._decoding, self._on_token = tokenizer, decoding, on_token
        self._ends, self._pieces = ends, Pieces(tokenizer)
        self._prompt_heard = False

    def put(self, value: Tensor) -> None:
        if not self._prompt_heard:
            self._prompt_heard = True
            return
        number = int(value.reshape(-1)[0])
        if number in self._ends:
            self.ended = True
            return
        step = self._decoding.latest
        layer = int(step.layer[0, -1])
        column = step.layers.tolist().index(layer)
        final = int(step.final_token[0, -1])
        token = Token(
            id=number,
            text=self._pieces.add(number),
            layer=layer,
            depth=int(step.depth[0, -1]),
            entropy=float(step.entropy[0, -1, column]),
            final_text=self._tokenizer.decode([final]) if step.substituted[0, -1] else None,
        )
        self.tokens.append(token)
        self._on_token(token)

    def end(self) -> None:
        if rest := self._pieces.rest():
            self.tokens[-1] = replace(self.tokens[-1], text=rest)
            self._on_token(self.tokens[-1])


class Pieces:
    """What each token adds to a text, in whole characters.

    Decoding a token alone loses what joins it to its neighbours, so a short window before it is
    decoded with and without it.
    """

    _WINDOW = 8

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = 0

    def add(self, token: int) -> str:
        """Return the text that `token` completes, empty while a character is incomplete."""
        self._ids.append(token)
        text = self.rest()
        if text.endswith(_INCOMPLETE):
            return ""
        self._shown = len(self._ids)
        return text

    def rest(self) -> str:
        """Return what has not been shown: of a character that was cut off, a sign for it."""
        start = max(0, self._shown - self._WINDOW)
        before = self._decode(self._ids[start : self._shown])
        return self._decode(self._ids[start:])[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text
