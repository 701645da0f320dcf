"""The anatomy of a causal language model: nothing else here knows what is inside one.

The logit lens of a residual state `h` is *what the model would have said had its final layer
returned `h`*. So the parts that matter are

- the **layers**: the stack of blocks through which the residual stream runs;
- the **decoder**: the module that owns the stack and returns the normed last state;
- the **final norm**: the modules between the final layer and the decoder's output;
- the **head**: all that the model does after its decoder (unembedding, soft-caps, logit scales).

None of them is looked up in a table of architectures. One forward pass over a few tokens shows
which modules ran, in which order, and which tensor went from where to where (see
`empirical.model.calls`): that finds layers, decoder and final norm. The head is the model's own
code, run on a headless copy of the model (see `empirical.model.headless`). A final check compares
the lens of the final layer with the model's logits; a model that is built otherwise is refused,
never read wrongly.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from empirical.model.calls import (
    TOKENS,
    only_call,
    record_calls,
    residual_input,
    tensor_of,
)
from empirical.model.calls import LensError as LensError
from empirical.model.headless import headless_copy
from empirical.model.parts import find_decoder, find_final_norm, find_layers
from empirical.model.wrappers import inner_model
from stopping.errors import UserError

StateListener = Callable[[int, Tensor], None]

# The lens repeats the model's own operations on the same numbers, so the two differ by a few
# roundings at most (usually by nothing at all).
_ROUNDINGS = 16


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The parts of one model, found and checked by `Anatomy.of`.

    Attributes
    ----------
    layers : the `L` layers, in order.
    decoder : returns the last hidden state without computing logits.
    final_norm : modules between the final layer and the decoder's output.
    headless : the model with a pass-through in the place of its decoder.
    vocabulary_size : width of the logits.
    first_position : what the model calls the place of a text's first token, in `position_ids`.
    """

    layers: tuple[nn.Module, ...]
    decoder: nn.Module
    final_norm: tuple[nn.Module, ...]
    headless: nn.Module
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
        calls, logits = record_calls(model)
        path, layers = find_layers(model, calls)
        decoder_path, decoder = find_decoder(model, path, calls)
        norms = find_final_norm(kind, calls, layers, decoder)
        anatomy = cls(
            layers,
            decoder,
            norms,
            headless_copy(model, decoder_path),
            vocabulary_size=logits.shape[-1],
            first_position=only_call(calls, layers[0]).first_position,
        )
        anatomy._check(kind, only_call(calls, layers[-1]).returned, logits)
        return anatomy

    @property
    def device(self) -> torch.device:
        """Where inputs go: to the first weights, or to the CPU where those are offloaded."""
        places = (p.device for p in self.decoder.parameters() if not p.is_meta)
        return next(places, torch.device("cpu"))

    @cached_property
    def causal(self) -> bool:
        """Whether a state depends on no token after it: two texts with one beginning tell."""
        ids = torch.tensor([TOKENS, (*TOKENS[:-1], TOKENS[-1] + 2)], device=self.device)
        was_training = self.decoder.training
        self.decoder.eval()
        try:
            with torch.inference_mode():
                output = self.decoder(
                    input_ids=ids % self.vocabulary_size,
                    attention_mask=torch.ones_like(ids),
                    use_cache=False,
                )
        finally:
            self.decoder.train(was_training)
        states = tensor_of(output)[:, :-1]
        first, second = states.float()
        # Rows of one batch round alike, but for experts that are given rows by the other tokens.
        rounding = min(0.05, 1024 * torch.finfo(states.dtype).eps)
        return not (first - second).norm() > rounding * first.norm()

    def require_causal(self) -> None:
        """Raise a LensError if a text cannot be traced in one pass.

        A model that reads in both directions has then seen the very token that it should predict.
        """
        if not self.causal:
            raise LensError(
                f"{type(self.headless).__name__}: what it says at a token depends on those "
                "after it, so texts cannot be traced in one pass; it can only be watched as it "
                "writes "
                "(`stopping generate`, `stopping evaluate`)"
            )

    def lens(self, h: Tensor) -> Tensor:
        """Logits that the model would have given had its final layer returned `h`.

        Parameters
        ----------
        h : (batch, positions, hidden)
            Residual states, as the layers return them.

        Returns
        -------
        (batch, positions, vocabulary)
        """
        logits: Tensor = self.headless(inputs_embeds=self.normed(h)).logits
        return logits

    def normed(self, h: Tensor) -> Tensor:
        """What the decoder would have handed to the head had its final layer returned `h`."""
        for module in self.final_norm:
            h = tensor_of(module(h))
        return h

    @contextmanager
    def listening(self, listener: StateListener) -> Iterator[None]:
        """Call `listener(l, h)` with every residual state of every forward pass in this context.

        `l = 0` is the input of the first layer, `l = 1..L` the output of layer `l`. The hooks are
        gone on leaving, whatever happened inside.
        """

        def entering(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            state = residual_input(args, kwargs)
            if state is not None:
                listener(0, state)

        def leaving(number: int) -> Callable[[nn.Module, Any, Any], None]:
            return lambda module, args, output: listener(number, tensor_of(output))

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
                x = self.normed(last_state)
                seen = self.headless(inputs_embeds=torch.cat([x, _rounded(x)])).logits
        except (TypeError, AttributeError, ValueError, RuntimeError) as failure:
            raise LensError(
                f"{kind}: the head cannot be called on a layer's state ({failure}); "
                "this architecture or its quantisation is not supported"
            ) from failure
        if not isinstance(seen, Tensor):
            raise LensError(
                f"{kind}: calls a whole language model, as a wrapper does, and not the parts of "
                "one; give the model inside"
            )
        if seen.shape != (2 * len(logits), *logits.shape[1:]):
            raise LensError(
                f"{kind}: the lens of the final layer has shape "
                f"{(len(seen) // 2, *seen.shape[1:])}, the model's logits {tuple(logits.shape)}"
            )
        seen, around = seen.chunk(2)
        # What is done after the product (soft-caps, scales) rounds as well.
        finite = logits[logits.isfinite()].abs().max().item() if logits.isfinite().any() else 0.0
        eps = max(torch.finfo(logits.dtype).eps, torch.finfo(x.dtype).eps)
        allowed = _farthest(seen, around) + _ROUNDINGS * eps * finite
        error = _farthest(seen, logits)
        if not error <= allowed:
            raise LensError(
                f"{kind}: the lens of the final layer differs from the model's logits by "
                f"{error:.3g} (allowed {allowed:.1g}); this architecture is not supported"
            )


def last_layers(depth: int, count: int | None) -> tuple[int, ...]:
    """Numbers of the last `count` of `depth` layers, from 1; None means all of them."""
    if count is not None and count < 1:
        raise UserError(f"layers: at least the final layer must be read, got {count}")
    return tuple(range(max(1, depth - (count or depth) + 1), depth + 1))


def _rounded(x: Tensor) -> Tensor:
    """Move normed states by as much as roundings in the head's product amount to.

    Whatever the order of its sums, a product is the exact one of a state whose coordinates are off
    by relative roundings, about `sqrt(hidden)` of them in single precision at least, and by one of
    the state's own precision. The head then says itself what becomes of them: a soft-cap makes
    logits small, and with them their error, but not in proportion.
    """
    eps = torch.finfo(x.dtype).eps
    size = _ROUNDINGS * (math.sqrt(x.shape[-1]) * min(eps, torch.finfo(torch.float32).eps) + eps)
    generator = torch.Generator().manual_seed(0)
    signs = 2 * torch.randint(2, x.shape, generator=generator) - 1
    return x + x * (size * signs).to(x)


def _farthest(a: Tensor, b: Tensor) -> float:
    """Largest difference; heads may mask words with -inf, on which both must agree."""
    return torch.where(a == b, 0.0, (a - b).abs().float()).max().item()
