"""The hooks: `ConfidentDecoding` rewrites the logits that a model's forward pass returns.

Hooks are set on the model's own call and on its layers, and all go when the context is left,
whatever happened inside. Graphs that `generate` compiles know nothing of hooks set after them, so
while a decoding is attached `generate` steps without compiled graphs; in a model that its user
compiles, the hooks run between graphs.
"""

import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
import torch
from torch import Tensor, nn

from empirical.decoding.choosing import Chooser, window_of
from empirical.decoding.custom import AbstractDecoder, Chooses
from empirical.decoding.hearing import hearing
from empirical.decoding.piggyback import Pass, piggybacked
from empirical.decoding.plan import Plan, PlanName, plan_named
from empirical.decoding.positions import Inputs
from empirical.decoding.projecting import HeadProjector, projector_for
from empirical.decoding.recording import Recorder, Recorders
from empirical.decoding.steps import Steps
from empirical.lenses import AbstractLens, RawLens
from empirical.model.anatomy import Anatomy
from empirical.model.fitted import require_own_fit
from empirical.model.running import drafts, tied, uncompiled
from empirical.model.unembedding import Unembedding
from empirical.model.wrappers import called_modules
from stopping.changepoint import FittedOn
from stopping.errors import UserError
from stopping.rules import AbstractRule, Search

PAPER_RULE = Search(K=10)


class ConfidentDecoding:
    """Decode each token of `model.generate` from the layer that a rule chooses.

    Use it as a context manager, or call `attach` and `detach`. One decoding at a time may be
    attached to a model; several threads may generate with it.

    Parameters
    ----------
    model : a causal language model of transformers
        Or what wraps one: adapters (PEFT), or the object that `torch.compile` returns.
    rule : AbstractRule, AbstractDecoder or str
        Any rule of `stopping.rules`, or another decoder such as those of
        `empirical.decoding.rivals`, or the text of either, as `--rule` takes it; default the
        paper's search with `K = 10`.
    lens : AbstractLens, optional
        How layers are read; default the raw logit lens.
    seed : int
        Seed of randomised rules. The draw for a token depends on (seed, position, token read
        last) alone, so equal prefixes draw alike; another seed draws anew.
    whole : bool
        Read every layer of the window at every step, also those that the rule needs not, so that
        `statistics` has all entropies. The choices are the same.
    anatomy : Anatomy, optional
        The model's anatomy where it is known already.
    plan : "fixed", "measured" or Plan
        How many layers are projected together: one after the other, so that the same run gives the
        same text, or as many as cost nothing on this device, which is measured once in a process
        (see `empirical.decoding.plan`). The plan changes the time and the rounding of products, and
        nothing else.

    Raises
    ------
    LensError
        If the model is no decoder whose layers can be read.
    UserError
        If a decoding is attached to the model, `seed` is negative, or the rule's text or the plan
        is not understood.
    """

    def __init__(
        self,
        model: nn.Module,
        rule: AbstractRule | AbstractDecoder | str = PAPER_RULE,
        lens: AbstractLens | None = None,
        seed: int = 0,
        *,
        whole: bool = False,
        anatomy: Anatomy | None = None,
        plan: Plan | PlanName = "fixed",
    ) -> None:
        if seed < 0:
            raise UserError(f"seed: must be >= 0, got {seed}")
        # A wrapper may run its model's `forward` past the hooks on that model's call.
        self._called = called_modules(model)
        self._model = model = self._called[-1]
        _require_free(model)
        if isinstance(rule, str):
            from empirical.decoding.rivals import (
                parse_decoder,  # rivals are decoders, and know this module
            )

            rule = parse_decoder(rule)
        self.anatomy = anatomy or Anatomy.of(model)
        self.rule, self.lens = rule, lens or RawLens(self.anatomy)
        depth = len(self.anatomy.layers)
        require_own_fit(rule, FittedOn("", depth, self.lens.name))
        head = None if isinstance(rule, AbstractDecoder) else Unembedding.of(self.anatomy)
        if not isinstance(plan, Plan):
            plan = plan_named(plan, head)
        self._chooser: Chooses
        self._piggybacks_on: HeadProjector | None = None
        if isinstance(rule, AbstractDecoder):
            self.layers = rule.window(depth, tied(model))
            self._chooser = rule.chooser(self.anatomy, lens, self.layers)
            heard = self.layers[:-1]
        else:
            self.layers = window_of(rule, depth)
            """Numbers of the layers in the window, ascending, ending in `L`."""
            projector = projector_for(self.lens, head, plan)
            chooser = Chooser(rule, self.lens, self.layers, seed, whole, projector)
            if isinstance(projector, HeadProjector) and chooser.scans and self.lens.keeps_final:
                self._piggybacks_on = projector
            self._chooser = chooser
            heard = self.layers if not self.lens.keeps_final else self.layers[:-1]
        self._heard = frozenset(heard)
        self._hooks: ExitStack | None = None
        self._local = threading.local()
        self._recorders = Recorders(self.layers)

    @property
    def attached(self) -> bool:
        """Whether the model decodes with this rule now."""
        return self._hooks is not None

    @property
    def statistics(self) -> Steps:
        """What was decoded in the last generation, of this thread if it has generated.

        Raises
        ------
        UserError
            If nothing has been decoded, or only other threads have, and more than one.
        """
        return self._recorders.latest().steps()

    @property
    def latest(self) -> Steps:
        """What was decoded in the last forward pass, for those who look on while it streams."""
        return self._recorders.latest().latest

    def attach(self) -> Self:
        """Set the hooks and forget earlier statistics."""
        _require_free(self._model)
        self._recorders.clear()
        with ExitStack() as hooks:
            for module in self._called:
                before = module.register_forward_pre_hook(self._begin, with_kwargs=True)
                hooks.callback(before.remove)
                after = module.register_forward_hook(self._rewrite, with_kwargs=True)
                hooks.callback(after.remove)
            hooks.enter_context(self.anatomy.listening(self._hear))
            if self._piggybacks_on is not None:
                hooks.enter_context(piggybacked(self._piggybacks_on, self.layers, self._current))
            hooks.enter_context(uncompiled(self._model))
            hooks.enter_context(hearing(self._model, self._recorders.mine))
            self._hooks = hooks.pop_all()
        return self

    def detach(self) -> None:
        """Remove the hooks; statistics stay. Detaching twice does nothing."""
        if self._hooks is not None:
            hooks, self._hooks = self._hooks, None
            hooks.close()
        self._local = threading.local()

    def __enter__(self) -> Self:
        return self.attach()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.detach()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # A copied model would carry hooks that answer to the original.
        raise UserError(
            "a decoding cannot be copied or pickled, nor a model that one is attached to; "
            "detach it first"
        )

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _begin(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rate = self._chooser.rate if isinstance(self._chooser, Chooser) else 0.5
        recorder = self._recorders.mine()
        inputs = Inputs.of(
            args, kwargs, self.anatomy.first_position, recorder.text, recorder.before
        )
        self._local.under_way = Pass(inputs, rate=rate)

    def _current(self) -> Pass | None:
        return getattr(self._local, "under_way", None)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _hear(self, layer: int, state: Tensor) -> None:
        under_way = self._current()
        if under_way is not None and layer in self._heard:
            under_way.states[layer] = under_way.inputs.kept(state)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _rewrite(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        under_way = self._current()
        if under_way is None:  # a wrapper's call, whose logits are rewritten already
            return output
        del self._local.under_way
        if drafts(self._model, len(self.anatomy.layers)):
            return output
        missing = sorted(self._heard - under_way.states.keys())
        if missing:
            raise UserError(
                f"the forward pass did not run the hooks of layer(s) {missing}: it leaves layers "
                "out, or it was compiled before the decoding was attached; decode without that"
            )
        recorder = self._recorders.mine()
        recorder.begin(under_way.inputs)
        if not isinstance(output, tuple):
            output.logits = self._chosen(output.logits, under_way, recorder)
            return output
        # `return_dict=False`: the logits come first, or after the loss.
        place = 0 if kwargs.get("labels") is None else 1
        chosen = self._chosen(output[place], under_way, recorder)
        return (*output[:place], chosen, *output[place + 1 :])

    @torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
    def _chosen(self, logits: Tensor, under_way: Pass, recorder: Recorder) -> Tensor:
        """Return the chosen layers' logits, written over the model's own where that is safe."""
        places = under_way.inputs.places()
        if logits.shape[:2] != places.real.shape:
            raise UserError(
                f"the model returned logits for {tuple(logits.shape[:2])} (rows, positions), "
                f"expected {places.real.shape}; this model cannot be decoded"
            )
        if logits.requires_grad:
            logits = logits.detach().clone()
        real = places.real.ravel()
        rows = None if real.all() else torch.from_numpy(np.flatnonzero(real))
        flat = logits.flatten(0, 1)
        decoded = _of_rows(flat, rows)
        more: dict[str, Any] = {}
        if under_way.ahead is not None:
            keep = slice(None) if rows is None else rows.to(flat.device)
            more["ahead"] = under_way.ahead.rows(keep)
        if isinstance(self._chooser, Chooser):
            more |= {"memory": recorder.memory, "row": recorder.streams(places)}
        choice = self._chooser.choose(
            decoded,
            {layer: _of_rows(h.flatten(0, 1), rows) for layer, h in under_way.states.items()},
            places.position[places.real],
            places.token[places.real],
            **more,
        )
        if rows is not None:
            flat[rows.to(flat.device)] = decoded
        recorder.add(places, choice)
        return flat.view_as(logits)


def _of_rows(values: Tensor, rows: Tensor | None) -> Tensor:
    return values if rows is None else values[rows.to(values.device)]


def _require_free(model: nn.Module) -> None:
    owners = (getattr(hook, "__self__", None) for hook in model._forward_hooks.values())
    if any(isinstance(owner, ConfidentDecoding) for owner in owners):
        raise UserError(
            f"{type(model).__name__}: a decoding is attached to this model; detach it first "
            "(two would choose twice)"
        )
