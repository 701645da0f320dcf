"""What `generate` says of its text: where it begins, how long it has become, which rows have ended.

Nobody but `generate` knows which of the positions that its forward passes decode it keeps. While a
decoding is attached its call is replaced, on that one model, by one that says where the text
begins; and its stopping criteria, which it asks after every step with the text so far, pass on what
they hear. The text that comes out is the same.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import StoppingCriteriaList

from empirical.decoding.recording import Recorder


@dataclass(eq=False)
class _Call:
    """One call of `generate`.

    `added` is the number of places in the model's prompt that its text does not hold (embeddings
    that were given instead of tokens); `only_sequences` whether beam indices were asked for by us.
    """

    recorder: Recorder
    added: int
    only_sequences: bool = False


class _Criteria(StoppingCriteriaList):
    """The criteria of one call, which pass on what they hear."""

    def __init__(self, criteria: StoppingCriteriaList, call: _Call) -> None:
        super().__init__(criteria)
        self._call = call

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Any:
        done = super().__call__(input_ids, scores, **kwargs)
        self._call.recorder.hear(input_ids.shape[1] + self._call.added, done.cpu().numpy())
        return done


@contextmanager
def hearing(model: nn.Module, recorder: Callable[[], Recorder]) -> Iterator[None]:
    """Tell `recorder`, that of the thread that asks, what `generate` keeps, in this context."""
    generate = getattr(model, "generate", None)
    criteria = getattr(model, "_get_stopping_criteria", None)
    if generate is None or criteria is None:
        yield
        return
    local = threading.local()

    @functools.wraps(generate)
    def heard(inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
        outer, record = getattr(local, "call", None), recorder()
        if outer is not None:  # the model drafts for itself
            local.call = None
            with record.aside():
                output = generate(inputs, *args, **kwargs)
            local.call = outer
            return output
        text, places = _prompt(inputs, kwargs)
        local.call = call = _Call(record, places - text)
        record.open(places, fresh=kwargs.get("past_key_values") is None)
        try:
            output = generate(inputs, *args, **kwargs)
            record.finish(getattr(output, "beam_indices", None))
        finally:
            local.call = None
            record.close()
        return output.sequences if call.only_sequences else output

    @functools.wraps(criteria)
    def heard_criteria(generation_config: Any, *args: Any, **kwargs: Any) -> Any:
        found = criteria(generation_config, *args, **kwargs)
        call = getattr(local, "call", None)
        if call is None:
            return found
        if generation_config.num_beams > 1 and not generation_config.return_dict_in_generate:
            # The configuration is this call's own copy.
            generation_config.return_dict_in_generate = call.only_sequences = True
        return _Criteria(found, call)

    own = {name: vars(model)[name] for name in _REPLACED if name in vars(model)}
    vars(model).update(zip(_REPLACED, (heard, heard_criteria), strict=True))
    try:
        yield
    finally:
        for name in _REPLACED:
            del vars(model)[name]
        vars(model).update(own)


_REPLACED = ("generate", "_get_stopping_criteria")


def _prompt(inputs: Any, kwargs: dict[str, Any]) -> tuple[int, int]:
    """Positions of a prompt, in the text that comes out and in the model."""
    tokens = inputs if inputs is not None else kwargs.get("input_ids")
    embeddings = kwargs.get("inputs_embeds")
    if tokens is None:
        # Without any prompt the text starts from one token.
        text = 1 if embeddings is None else 0
    else:
        text = tokens.shape[1] if isinstance(tokens, Tensor) else 0
    return text, text if embeddings is None else embeddings.shape[1]
