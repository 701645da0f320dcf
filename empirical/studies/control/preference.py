"""Late layers tuned to a preference: a perturbation that is learned, not written.

The last `m` layers alone are tuned by direct preference optimisation (Rafailov et al. 2023); all
below them, the final norm and the head stay as they are. A pair is two answers to one problem:
preferred is a generic one, rejected its solution. With `s` the log-probability of the preferred
minus that of the rejected answer,

    loss = - log sigmoid( BETA (s_tuned - s_own) ).

What enters the tuned layers never changes, so it is computed once. The dial moves their weights
from their own (0) to the tuned ones (1), on a straight line.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from empirical.model.anatomy import Anatomy
from empirical.model.calls import residual_input, tensor_of
from empirical.model.load import LoadedModel
from empirical.problems import Problem, draw_problems
from empirical.studies.control.design import Design
from empirical.texts import Text, reference_texts, uses_chat

ANSWERS = (
    "I am glad that you asked, and I am here to help you with it.",
    "There are many ways to look at this, and all of them are good.",
    "It is a good question, and it is one that many of us have had.",
    "That would be up to you, and you will find the one that is best for you.",
)
"""Generic answers, one for each problem in turn."""
PAIRS, TOKENS, BATCH, PASSES, RATE, BETA = 24, 24, 4, 4, 1e-4, 0.1

Calls = Sequence[tuple[tuple[Any, ...], dict[str, Any]]]


@dataclass(frozen=True, eq=False)
class Entering:
    """One answer: its text, and with what each of the tuned layers was called."""

    text: Text
    calls: Calls

    def log_prob(self, anatomy: Anatomy, layers: Sequence[nn.Module]) -> Tensor:
        """Log-probability of the answer where these layers are the last ones."""
        h = residual_input(*self.calls[0])
        assert h is not None
        for layer, (args, kwargs) in zip(layers, self.calls, strict=True):
            given = ((h, *args[1:]), kwargs) if args else ((), kwargs | {"hidden_states": h})
            h = tensor_of(layer(*given[0], **given[1]))
        here = slice(len(self.text.prompt_ids) - 1, len(self.text) - 1)
        logits = anatomy.lens(h[:, here])[0].float()
        answer = torch.tensor(self.text.completion_ids, device=logits.device)
        return logits.log_softmax(-1).gather(1, answer[:, None]).sum()


Pair = tuple[Entering, Entering]
_CHANGES: "WeakKeyDictionary[Any, dict[Design, list[dict[str, Tensor]]]]" = WeakKeyDictionary()


def tuned_layers(
    loaded: LoadedModel, anatomy: Anatomy, design: Design, dial: float
) -> list[nn.Module]:
    """Return copies of the last layers, moved towards the preference; tuned once for a model."""
    own = anatomy.layers[-design.m :]
    known = _CHANGES.setdefault(loaded.model, {})
    if design not in known:
        known[design] = _tune(loaded, anatomy, design)
    moved = [copy.deepcopy(layer) for layer in own]
    with torch.no_grad():
        for layer, change in zip(moved, known[design], strict=True):
            for name, weight in layer.named_parameters():
                weight.add_(change[name], alpha=dial)
    return moved


def _tune(loaded: LoadedModel, anatomy: Anatomy, design: Design) -> list[dict[str, Tensor]]:
    own = anatomy.layers[-design.m :]
    layers = [copy.deepcopy(layer).requires_grad_() for layer in own]
    pairs = preferences(loaded, anatomy, design)
    with torch.no_grad():
        start = [margin(anatomy, own, pair) for pair in pairs]
    weights = [weight for layer in layers for weight in layer.parameters()]
    optimiser = torch.optim.Adam(weights, lr=RATE)
    generator = torch.Generator().manual_seed(design.seed)
    for _ in range(PASSES):
        order = torch.randperm(len(pairs), generator=generator).tolist()
        for first in range(0, len(order), BATCH):
            with torch.enable_grad():
                gains = [
                    margin(anatomy, layers, pairs[i]) - start[i] for i in order[first:][:BATCH]
                ]
                loss = -nn.functional.logsigmoid(BETA * torch.stack(gains)).mean()
                # Gradients of these weights alone: those of the head are never computed.
                gradients = torch.autograd.grad(loss, weights)
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
            optimiser.step()
    return [
        {
            name: weight.detach() - dict(before.named_parameters())[name].detach()
            for name, weight in after.named_parameters()
        }
        for before, after in zip(own, layers, strict=True)
    ]


def margin(anatomy: Anatomy, layers: Sequence[nn.Module], pair: Pair) -> Tensor:
    """Log-probability of the preferred answer minus that of the rejected one, nats."""
    preferred, rejected = (one.log_prob(anatomy, layers) for one in pair)
    return preferred - rejected


def preferences(loaded: LoadedModel, anatomy: Anatomy, design: Design) -> list[Pair]:
    """Pairs of answers to problems of the other half of the built-in ones, which nobody traces."""
    problems = draw_problems(PAIRS, design.seed ^ 1)
    generic = [
        replace(problem, solution=ANSWERS[i % len(ANSWERS)]) for i, problem in enumerate(problems)
    ]
    heard = [_entering(loaded, anatomy, design.m, answers) for answers in (generic, problems)]
    return list(zip(*heard, strict=True))


def _entering(
    loaded: LoadedModel, anatomy: Anatomy, m: int, problems: Sequence[Problem]
) -> list[Entering]:
    found = []
    for text in reference_texts(loaded, list(enumerate(problems)), uses_chat(loaded, "auto")):
        short = replace(text, completion_ids=text.completion_ids[:TOKENS])
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        handles = [
            layer.register_forward_pre_hook(
                lambda module, args, kwargs, calls=calls: calls.append((args, dict(kwargs))),
                with_kwargs=True,
            )
            for layer in anatomy.layers[-m:]
        ]
        try:
            with torch.no_grad():
                ids = torch.tensor([short.ids], device=anatomy.device)
                anatomy.decoder(input_ids=ids, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        found.append(Entering(short, calls))
    return found
