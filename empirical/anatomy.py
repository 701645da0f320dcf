"""The anatomy of a causal language model: nothing else here knows what is inside one.

The logit lens of a residual state `h` is *what the model would have said had its last layer
returned `h`*. So the parts that matter are

- the **layers**: the stack of blocks through which the residual stream runs;
- the **decoder**: the module that owns the stack and returns the normed last state;
- the **tail**: the modules between the last layer and the decoder's output (the final norm);
- the **head**: all that the model does after its decoder (unembedding, soft-caps, logit scales).

None of them is looked up in a table of architectures. One *probe*, a forward pass over a few
tokens with a hook on every module, shows which modules ran, in which order, and which tensor went
from where to where: that finds layers, decoder and tail. The head is the model's own code, run on
a shell of the model (see `empirical.shell`). A final check compares the lens of the last layer
with the model's logits; a model that is built otherwise is refused, never read wrongly.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from empirical.shell import shell_of
from empirical.wrappers import inner_model
from stopping.errors import UserError

StateListener = Callable[[int, Tensor], None]

_PROBE_TOKENS = (5, 7, 11, 13, 17)
# The lens repeats the model's own operations on the same numbers, so the two differ by a few
# units in the last place at most (usually by nothing at all).
_ROUNDINGS = 16


class LensError(UserError):
    """The model's anatomy was not found, or the lens does not reproduce the model's logits."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The parts of one model, found and checked by `Anatomy.of`.

    Attributes
    ----------
    layers : the `L` layers, in order.
    decoder : returns the last hidden state without computing logits.
    tail : modules between the last layer and the decoder's output.
    shell : the model with a pass-through in the place of its decoder.
    vocabulary_size : width of the logits.
    first_position : what the model calls the place of a text's first token, in `position_ids`.
    """

    layers: tuple[nn.Module, ...]
    decoder: nn.Module
    tail: tuple[nn.Module, ...]
    shell: nn.Module
    vocabulary_size: int
    first_position: int = 0

    @classmethod
    def of(cls, model: nn.Module) -> "Anatomy":
        """Find the parts of a causal language model and check the lens on its own logits.

        Of adapters (PEFT) or a compiled object, the parts are those of the model inside.

        Raises
        ------
        LensError
            If the model is an encoder-decoder, has no stack of layers whose outputs are the
            residual stream, does between stack and logits what the lens cannot repeat, or is
            wrapped to run as several copies.
        """
        model = inner_model(model)
        kind = type(model).__name__
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            raise LensError(
                f"{kind}: runs copies of a model on several devices; give the model inside, "
                "`model.module`"
            )
        if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
            raise LensError(f"{kind}: encoder-decoder models are not supported, only decoders")
        calls, logits = _probe(model)
        path, layers = _find_layers(model, calls)
        decoder_path, decoder = _find_decoder(model, path, calls)
        tail = _find_tail(kind, calls, layers, decoder)
        anatomy = cls(
            layers,
            decoder,
            tail,
            shell_of(model, decoder_path),
            vocabulary_size=logits.shape[-1],
            first_position=_only_call(calls, layers[0]).first_position,
        )
        anatomy._check(kind, _only_call(calls, layers[-1]).returned, logits)
        return anatomy

    def lens(self, h: Tensor) -> Tensor:
        """Logits that the model would have given had its last layer returned `h`.

        Parameters
        ----------
        h : (batch, positions, hidden)
            Residual states, as the layers return them.

        Returns
        -------
        (batch, positions, vocabulary)
        """
        logits: Tensor = self.shell(inputs_embeds=self.normed(h)).logits
        return logits

    def normed(self, h: Tensor) -> Tensor:
        """What the decoder would have handed to the head had its last layer returned `h`."""
        for module in self.tail:
            h = _tensor_of(module(h))
        return h

    @contextmanager
    def listening(self, listener: StateListener) -> Iterator[None]:
        """Call `listener(l, h)` with every residual state of every forward pass in this context.

        `l = 0` is the input of the first layer, `l = 1..L` the output of layer `l`. The hooks are
        gone on leaving, whatever happened inside.
        """

        def entering(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            state = _residual_input(args, kwargs)
            if state is not None:
                listener(0, state)

        def leaving(number: int) -> Callable[[nn.Module, Any, Any], None]:
            return lambda module, args, output: listener(number, _tensor_of(output))

        handles = [self.layers[0].register_forward_pre_hook(entering, with_kwargs=True)]
        try:
            for number, layer in enumerate(self.layers, start=1):
                handles.append(layer.register_forward_hook(leaving(number)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _check(self, kind: str, last_state: Tensor, logits: Tensor) -> None:
        try:
            with torch.inference_mode():
                seen = self.lens(last_state)
        except (TypeError, AttributeError, ValueError, RuntimeError) as failure:
            raise LensError(
                f"{kind}: the head cannot be called on a layer's state ({failure}); "
                "this architecture or its quantisation is not supported"
            ) from failure
        if seen.shape != logits.shape:
            raise LensError(
                f"{kind}: the lens of the last layer has shape {tuple(seen.shape)}, "
                f"the model's logits {tuple(logits.shape)}"
            )
        # Heads may mask words with -inf, on which both must agree.
        error = torch.where(seen == logits, 0.0, (seen - logits).abs().float()).max().item()
        finite = logits[logits.isfinite()].abs().max().item() if logits.isfinite().any() else 0.0
        allowed = _ROUNDINGS * torch.finfo(logits.dtype).eps * max(finite, 1.0)
        if not error <= allowed:
            raise LensError(
                f"{kind}: the lens of the last layer differs from the model's logits by "
                f"{error:.3g} (allowed {allowed:.1g}); this architecture is not supported"
            )


@dataclass(frozen=True, eq=False)
class _Call:
    """One module call of the probe; keeping the tensors makes their identity meaningful."""

    module: nn.Module
    given: Tensor | None
    returned: Tensor
    first_position: int


def _probe(model: nn.Module) -> tuple[list[_Call], Tensor]:
    """Run a few tokens and record every module call in the order in which the calls ended."""
    calls: list[_Call] = []

    def record(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        returned = _first_tensor(output)
        if returned is not None:
            first = _first_position(kwargs.get("position_ids"))
            calls.append(_Call(module, _residual_input(args, kwargs), returned, first))

    config = getattr(model, "config", None)
    text_config = config.get_text_config(decoder=True) if config is not None else None
    vocabulary = int(getattr(text_config, "vocab_size", 0) or max(_PROBE_TOKENS) + 1)
    device = next((p.device for p in model.parameters() if p.device.type != "meta"), "cpu")
    ids = torch.tensor([_PROBE_TOKENS], device=device) % vocabulary
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


def _find_layers(model: nn.Module, calls: Sequence[_Call]) -> tuple[str, tuple[nn.Module, ...]]:
    """Find the stack: each member ran once and passed its output on to the next, unchanged."""
    ended = _ends(calls)
    stacks: list[tuple[int, str, tuple[nn.Module, ...]]] = []
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) > 0:
            members = tuple(module)
            if all(len(ended.get(member, ())) == 1 for member in members) and _chained(
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


def _find_decoder(
    model: nn.Module, layers_path: str, calls: Sequence[_Call]
) -> tuple[str, nn.Module]:
    """Find the outermost module around the stack that the model calls as a module."""
    ended = _ends(calls)
    names = layers_path.split(".")
    for length in range(1, len(names)):
        path = ".".join(names[:length])
        module = model.get_submodule(path)
        if module in ended:
            return path, module
    raise LensError(f"{type(model).__name__}: no module around {layers_path} is called as one")


def _find_tail(
    kind: str, calls: Sequence[_Call], layers: tuple[nn.Module, ...], decoder: nn.Module
) -> tuple[nn.Module, ...]:
    """Walk back from the decoder's output to the last layer's, one module call at a time."""
    ended = _ends(calls)
    first, until = ended[layers[-1]][-1], ended[decoder][-1]
    state, goal = calls[until].returned, calls[first].returned
    tail: list[nn.Module] = []
    while not _same(state, goal):
        for index in range(until - 1, first, -1):
            call = calls[index]
            # A module that hands its input on (dropout at inference) explains nothing, nor does
            # one around the stack.
            if (
                call.given is not None
                and call.given is not state
                and _same(call.returned, state)
                and layers[-1] not in call.module.modules()
            ):
                break
        else:
            raise LensError(
                f"{kind}: the last layer and the decoder's output are not connected by module "
                "calls alone; this architecture is not supported"
            )
        tail.insert(0, call.module)
        state, until = call.given, index
    return tuple(tail)


def _ends(calls: Sequence[_Call]) -> dict[nn.Module, list[int]]:
    ended: dict[nn.Module, list[int]] = {}
    for index, call in enumerate(calls):
        ended.setdefault(call.module, []).append(index)
    return ended


def _only_call(calls: Sequence[_Call], module: nn.Module) -> _Call:
    return next(call for call in calls if call.module is module)


def _chained(calls: Sequence[_Call]) -> bool:
    return all(
        later.given is not None and _same(earlier.returned, later.given)
        for earlier, later in pairwise(calls)
    )


def _same(a: Tensor, b: Tensor) -> bool:
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


def _tensor_of(output: Any) -> Tensor:
    tensor = _first_tensor(output)
    if tensor is None:
        raise LensError(f"a layer returned {type(output).__name__}, expected a tensor first")
    return tensor


def _first_position(position_ids: Any) -> int:
    """Return what a layer is told of the place of its first state; 0 where it is told nothing."""
    if not isinstance(position_ids, Tensor) or position_ids.numel() == 0:
        return 0
    return int(position_ids.flatten()[0])


def _residual_input(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Return the state that a module was given: the first floating tensor among its arguments."""
    for value in (*args, kwargs.get("hidden_states"), *kwargs.values()):
        if isinstance(value, Tensor) and value.is_floating_point():
            return value
    return None
