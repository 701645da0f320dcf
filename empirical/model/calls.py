"""One short forward pass of a model, as the list of its module calls.

A hook on every module records which modules ran, in which order, and which tensor went from where
to where; `empirical.model.anatomy` finds a model's parts in that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from stopping.errors import UserError

TOKENS = (5, 7, 11, 13, 17)


class LensError(UserError):
    """The model's anatomy was not found, or the lens does not reproduce the model's logits."""


@dataclass(frozen=True, eq=False)
class Call:
    """One module call; keeping its tensors makes their identity meaningful.

    `first_position` is what the module was told of the place of its first state, 0 if nothing.
    """

    module: nn.Module
    given: Tensor | None
    returned: Tensor
    first_position: int


def record_calls(model: nn.Module) -> tuple[list[Call], Tensor]:
    """Run a few tokens and record every module call in the order in which the calls ended."""
    calls: list[Call] = []

    def record(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        returned = _first_tensor(output)
        if returned is not None:
            first = _first_position(kwargs.get("position_ids"))
            calls.append(Call(module, residual_input(args, kwargs), returned, first))

    config = getattr(model, "config", None)
    text_config = config.get_text_config(decoder=True) if config is not None else None
    vocabulary = int(getattr(text_config, "vocab_size", 0) or max(TOKENS) + 1)
    device = next((p.device for p in model.parameters() if p.device.type != "meta"), "cpu")
    ids = torch.tensor([TOKENS], device=device) % vocabulary
    was_training = model.training
    model.eval()
    handles = [
        module.register_forward_hook(record, with_kwargs=True)
        for module in model.modules()
        if module is not model
    ]
    try:
        with torch.inference_mode():
            logits: Tensor = model(input_ids=ids, use_cache=False).logits
    except (TypeError, AttributeError, ValueError) as error:
        raise LensError(
            f"{type(model).__name__}: not a causal language model that takes input_ids and "
            f"returns logits ({error})"
        ) from error
    except RuntimeError as error:
        raise LensError(
            f"{type(model).__name__}: the model's own forward pass fails ({error}); if its weights "
            "are quantised, this device may lack the kernels: load them dequantised"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
        model.train(was_training)
    return calls, logits


def ends(calls: Sequence[Call]) -> dict[nn.Module, list[int]]:
    """Return the indices of each module's calls."""
    ended: dict[nn.Module, list[int]] = {}
    for index, call in enumerate(calls):
        ended.setdefault(call.module, []).append(index)
    return ended


def only_call(calls: Sequence[Call], module: nn.Module) -> Call:
    """Return the call of a module that ran once."""
    return next(call for call in calls if call.module is module)


def chained(calls: Sequence[Call]) -> bool:
    """Whether each call was given what the one before it returned."""
    return all(
        later.given is not None and same(earlier.returned, later.given)
        for earlier, later in pairwise(calls)
    )


def same(a: Tensor, b: Tensor) -> bool:
    """Same memory and shape: a view of a tensor counts as the tensor."""
    return a.shape == b.shape and a.dtype == b.dtype and a.data_ptr() == b.data_ptr()


def _first_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)) and output and isinstance(output[0], Tensor):
        return output[0]
    return None


def tensor_of(output: Any) -> Tensor:
    """Return the tensor that an output is or begins with.

    Raises
    ------
    LensError
        If there is none.
    """
    tensor = _first_tensor(output)
    if tensor is None:
        raise LensError(f"a layer returned {type(output).__name__}, expected a tensor first")
    return tensor


def _first_position(position_ids: Any) -> int:
    if not isinstance(position_ids, Tensor) or position_ids.numel() == 0:
        return 0
    return int(position_ids.flatten()[0])


def residual_input(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Return the state that a module was given: the first floating tensor among its arguments."""
    for value in (*args, kwargs.get("hidden_states"), *kwargs.values()):
        if isinstance(value, Tensor) and value.is_floating_point():
            return value
    return None
