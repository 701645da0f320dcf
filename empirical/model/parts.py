"""Where the parts of a model are, found in the calls that one forward pass made.

No table of architectures is asked: which modules ran, in which order, and which tensor went from
where to where (see `empirical.model.calls`) shows stack, decoder and final norm.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from empirical.model.calls import Call, LensError, chained, ends, same


def find_layers(model: nn.Module, calls: Sequence[Call]) -> tuple[str, tuple[nn.Module, ...]]:
    """Find the stack: each member ran once and passed its output on to the next, unchanged."""
    ended = ends(calls)
    stacks: list[tuple[int, str, tuple[nn.Module, ...]]] = []
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) > 0:
            members = tuple(module)
            if all(len(ended.get(member, ())) == 1 for member in members) and chained(
                [calls[ended[member][0]] for member in members]
            ):
                stacks.append((ended[members[-1]][0], path, members))
    kind = type(model).__name__
    config: Any = getattr(model, "config", None)
    depth = getattr(
        config.get_text_config(decoder=True) if config is not None else None,
        "num_hidden_layers",
        None,
    )
    if depth is not None:
        stacks = [stack for stack in stacks if len(stack[2]) == depth]
    if not stacks:
        for module in model.modules():
            ran = sum(member in ended for member in module.children())
            if isinstance(module, nn.ModuleList) and len(module) == depth and 0 < ran < depth:
                raise LensError(
                    f"{kind}: of its {depth} layers only {ran} run on a text alone (the others "
                    "read images), so no one stack can be read; use a model for text"
                )
        raise LensError(
            f"{kind}: found no stack of {depth or 'some'} layers whose outputs are passed on "
            "unchanged, so their outputs are not the residual stream"
        )
    # The stack that ends last is the one that the logits come from.
    _, path, layers = max(stacks, key=lambda stack: stack[0])
    return path, layers


def find_decoder(
    model: nn.Module, layers_path: str, calls: Sequence[Call]
) -> tuple[str, nn.Module]:
    """Find the outermost module around the stack that the model calls as a module."""
    ended = ends(calls)
    names = layers_path.split(".")
    for length in range(1, len(names)):
        path = ".".join(names[:length])
        module = model.get_submodule(path)
        if module in ended:
            return path, module
    raise LensError(f"{type(model).__name__}: no module around {layers_path} is called as one")


def find_final_norm(
    kind: str, calls: Sequence[Call], layers: tuple[nn.Module, ...], decoder: nn.Module
) -> tuple[nn.Module, ...]:
    """Go back from the decoder's output to the final layer's, one module call at a time."""
    ended = ends(calls)
    first, until = ended[layers[-1]][-1], ended[decoder][-1]
    state, goal = calls[until].returned, calls[first].returned
    norms: list[nn.Module] = []
    while not same(state, goal):
        for index in range(until - 1, first, -1):
            call = calls[index]
            # A module that hands its input on (dropout at inference) explains nothing, nor does
            # one around the stack.
            if (
                call.given is not None
                and call.given is not state
                and same(call.returned, state)
                and layers[-1] not in call.module.modules()
            ):
                break
        else:
            raise LensError(
                f"{kind}: the final layer and the decoder's output are not connected by module "
                "calls alone; this architecture is not supported"
            )
        norms.insert(0, call.module)
        state, until = call.given, index
    return tuple(norms)
