"""A prompt as the model reads it: whole, and with no more control tokens than its template writes.

Between a user's text and its tokens stand two programs of the model's own. The *chat template* may
drop, cut or change the text, or ask for what is not there. The *tokenizer* may append an end of
text, lack a token for a letter, and read what is spelled like a control token (`</s>` in a question
on HTML) as that token. Here all of this is found out, and the text arrives whole or is refused:

- the template is filled in twice, with the prompt and with a stand-in; the one must be the other
  with the prompt in the stand-in's place. White space around the prompt, which many templates
  strip, is the only thing that may go;
- of the tokens around a text only those before it are kept;
- a control token that the user's text spells is read as its letters, as is all of that text;
- the tokens, decoded, are the text again, but for white space and what Unicode calls compatible.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from empirical.model.load import LoadedModel
from stopping.errors import UserError

_STAND_IN = "QzStandsForThePromptQz"
_UNREAD = "QzNoTemplateReadsThisQz"


@dataclass(frozen=True)
class Part:
    """A stretch of what the model reads: the user's, or the template's with its control tokens."""

    text: str
    users: bool = True


def parts_of(loaded: LoadedModel, prompt: str, chat: bool) -> tuple[Part, ...]:
    """Return the prompt alone, or as the user's message of a chat that the model is to answer.

    Raises
    ------
    UserError
        If the chat template fails, or drops or changes the prompt.
    """
    require_unicode(prompt, "prompt")
    return _filled_in(loaded, prompt) if chat else (Part(prompt),)


def encode_parts(loaded: LoadedModel, parts: Sequence[Part], begins: bool) -> list[int]:
    """Tokenise all parts as one text, as the model would see them.

    Parameters
    ----------
    begins
        Put before it what the tokenizer puts before a text, of parts that are all the user's. A
        chat template writes that itself.

    Raises
    ------
    UserError
        If the tokenizer cannot say the text in ordinary tokens, or leaves something out.
    """
    tokenizer = loaded.tokenizer
    parts = [
        Part("".join(part.text for part in run), users)
        for users, run in groupby(parts, key=lambda part: part.users)
    ]
    special = loaded.control_tokens
    users = [token for part in parts if part.users for token in _ids(tokenizer, part.text)]
    spelled = {special[token] for token in users if token in special}
    if spelled:
        ids = _spelled_out(loaded, parts, special, spelled)
    else:
        ids = _ids(tokenizer, _joined(parts))
    _require_whole(loaded, _joined(parts), ids)
    return [*_opening(loaded, _joined(parts), ids, bool(spelled)), *ids] if begins else ids


def require_unicode(text: str, where: str) -> None:
    """Raise a UserError if the text has bytes in it that were no UTF-8, as half surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: character {error.start + 1} is no Unicode text (bytes that are not UTF-8?); "
            "write it in UTF-8"
        ) from error


def _filled_in(loaded: LoadedModel, prompt: str) -> tuple[Part, ...]:
    failure: Exception | None = None
    # Templates of models that also see images may know only a message of typed parts.
    for typed in (False, True):
        try:
            found, pattern = (_render(loaded, text, typed) for text in (prompt, _STAND_IN))
        except Exception as error:  # a template is a program, which may fail in any way
            failure = failure if typed else error
            continue
        for kept in (prompt, prompt.strip(), prompt.lstrip(), prompt.rstrip()):
            around = pattern.split(_STAND_IN)
            if len(around) > 1 and found == kept.join(around):
                first, *rest = (Part(text, users=False) for text in around)
                return (first, *(part for after in rest for part in (Part(kept), after)))
    if failure is not None:
        reason = " ".join(str(failure).split())[:300]
        raise UserError(
            f"{loaded.name}: the chat template fails ({reason}); correct the tokenizer's "
            "chat_template, or leave it out with --chat off"
        ) from failure
    raise UserError(
        f"{loaded.name}: the chat template drops or changes the prompt, so the model would not "
        f"read it whole ({prompt.strip()[:40]!r}...); leave the template out with --chat off"
    )


def _render(loaded: LoadedModel, prompt: str, typed: bool) -> str:
    # A template that prints a part as it stands, instead of its text, shows the third field.
    content = [{"type": "text", "text": prompt, "unread": _UNREAD}] if typed else prompt
    text: str = loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    if _UNREAD in text:
        raise ValueError("a message's parts are printed, not read")
    return text


def _ids(tokenizer: Any, text: str, **how: bool) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False, **how)
    return ids


def _joined(parts: Sequence[Part]) -> str:
    return "".join(part.text for part in parts)


def _opening(loaded: LoadedModel, text: str, ids: list[int], spelled: bool) -> list[int]:
    """Return what the tokenizer puts before a text, without what it puts after one."""
    how = {"split_special_tokens": True} if spelled else {}
    whole: list[int] = loaded.tokenizer.encode(text, add_special_tokens=True, **how)
    for start in range(len(whole) - len(ids) + 1):
        if whole[start : start + len(ids)] == ids:
            return whole[:start]
    raise UserError(
        f"{loaded.name}: the tokenizer reads a text otherwise once it puts its own tokens around "
        "it, so where the text begins cannot be told; use another model"
    )


def _spelled_out(
    loaded: LoadedModel, parts: Sequence[Part], special: dict[int, str], spelled: set[str]
) -> list[int]:
    """Tokenise with the user's parts in ordinary tokens alone.

    The text is cut at the template's control tokens, and each piece tokenised by itself. That the
    cuts change nothing is seen on a copy of the text that spells no control token.
    """
    control = re.compile(f"({'|'.join(map(re.escape, sorted(special.values(), key=len)[::-1]))})")
    plain = [Part(control.sub("x", part.text)) if part.users else part for part in parts]
    pieces, plain_pieces = _cut(parts, control), _cut(plain, control)
    # Some tokenizers begin a text with a space: any further piece then gets a letter before it.
    for lead in ("", "\n"):
        if _pasted(loaded.tokenizer, plain_pieces, lead) == _ids(loaded.tokenizer, _joined(plain)):
            ids = _pasted(loaded.tokenizer, pieces, lead)
            if sum(token in special for token in ids) == len(pieces) // 2:
                return ids
    text = "".join(part.text for part in parts if part.users)
    if unsaid := sorted(token for token in spelled if token not in text):
        raise UserError(
            f"{loaded.name}: the tokenizer has no token for some of the text, and would read "
            f"{', '.join(unsaid)} there; write it in other letters, or use another model"
        )
    raise UserError(
        f"{loaded.name}: the text spells {', '.join(sorted(spelled))}, which this model's "
        "tokenizer cannot read other than as the control token; take it out of the text"
    )


def _cut(parts: Sequence[Part], control: re.Pattern[str]) -> list[str]:
    """Return stretches of text, and between them the template's control tokens."""
    pieces = [""]
    for part in parts:
        first, *rest = [part.text] if part.users else control.split(part.text)
        pieces[-1] += first
        pieces += rest
    return pieces


def _pasted(tokenizer: Any, pieces: Sequence[str], lead: str) -> list[int]:
    """Tokenise each stretch of text in ordinary tokens, and put them together again."""
    skipped = len(_ids(tokenizer, lead)) if lead else 0
    ids = _ids(tokenizer, pieces[0], split_special_tokens=True)
    for token, text in zip(pieces[1::2], pieces[2::2], strict=True):
        ids.append(tokenizer.convert_tokens_to_ids(token))
        if text:
            ids += _ids(tokenizer, lead + text, split_special_tokens=True)[skipped:]
    return ids


def _require_whole(loaded: LoadedModel, text: str, ids: list[int]) -> None:
    """Raise a UserError unless the tokens say the text."""
    if not hasattr(loaded.tokenizer, "decode"):
        return
    decoded = loaded.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if _letters(decoded) != _letters(text):
        at = next(
            (at for at, pair in enumerate(zip(text, decoded, strict=False)) if len(set(pair)) > 1),
            min(len(text), len(decoded)),
        )
        raise UserError(
            f"{loaded.name}: the tokenizer leaves out or changes some of the text: "
            f"{text[at : at + 20]!r} would be read as {decoded[at : at + 20]!r}; write it in other "
            "letters, or use another model"
        )


def _letters(text: str) -> str:
    """What must be left of a text: all but white space (one tokenizer's is a block) and case."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().replace("▁", " ").split())
