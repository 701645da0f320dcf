"""Rows of states and logits to rows of chosen logits: one step of an engine.

Two ways, with the same decisions:

- *lazily*, by the decoder's own `Chooser`: candidates are projected round by round for the rows
  that go on, and the host looks after each round;
- *together*: entropies of the whole window at once, then the rule on tensors
  (`empirical.serving.scan`); the host never looks, so the device may run behind it. Only rows that
  asked are projected. Where the logits of the window fit into memory the chosen layer's are taken
  from them, else the chosen states are projected once more.

Rows whose choice is `L`, and rows that did not ask, keep the very logits that vLLM made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from empirical.decoding.block_state import Prefetched
from empirical.decoding.choosing import Chooser
from empirical.decoding.projecting import AbstractProjector, rows_held
from empirical.logits.sums import Sums, joined, sums_of
from empirical.serving.lens import ServedLens
from empirical.serving.scan import draw, steps_back
from empirical.serving.settings import Request
from empirical.serving.statistics import Counts

# Rows of logits that are reduced to sums at a time.
_FEW_BYTES = {"cpu": 1 << 20, "cuda": 64 << 20}


@dataclass(frozen=True, eq=False)
class Step:
    """`n` rows that are about to be sampled.

    Attributes
    ----------
    logits : (n, vocabulary), the model's own; written over.
    states : (n, hidden) by layer number; of `L` with its norm applied.
    position, token : (n,) int64, on the device
        Place of the token read last, and that token (-1 where it is not known).
    """

    logits: Tensor
    states: Mapping[int, Tensor]
    position: Tensor
    token: Tensor

    def rows(self, rows: Tensor | slice) -> "Step":
        """Some of the rows, copied."""
        states = {layer: h[rows] for layer, h in self.states.items()}
        return Step(self.logits[rows], states, self.position[rows], self.token[rows])


@dataclass(eq=False)
class Searcher:
    """What a worker needs to search.

    Attributes
    ----------
    layers : numbers of the window's layers, ascending, ending in `L`.
    """

    lens: ServedLens
    projector: AbstractProjector
    layers: tuple[int, ...]
    lazy: bool
    counts: Counts

    def __post_init__(self) -> None:
        self._chooser = lru_cache(maxsize=256)(self._new_chooser)

    def decode(self, step: Step, requests: Sequence[Request]) -> Tensor:
        """Put the chosen layers' logits into `step.logits`; `requests` are those of the rows.

        Returns
        -------
        (n,) int64
            Layers back from `L`, 0 where nothing was asked.
        """
        groups = _grouped(requests)
        depth = torch.zeros_like(step.position)
        if not groups or len(self.layers) == 1:
            return depth
        decode = self._lazily if self.lazy else self._together
        searched = decode(step, groups, depth)
        self.counts.add(searched)
        return depth

    def _lazily(self, step: Step, groups: Mapping[Request, list[int]], depth: Tensor) -> Tensor:
        parts = []
        for request, rows in groups.items():
            index = torch.tensor(rows, device=depth.device)
            everyone = len(rows) == len(depth)
            some = step if everyone else step.rows(index)
            window = self.layers[-1 - min(request.reach, len(self.layers) - 1) :]
            choice = self._chooser(request, window).choose(
                some.logits,
                some.states,
                some.position.cpu().numpy(),
                some.token.cpu().numpy(),
                Prefetched(self._own_sums(some)),
            )
            back = torch.from_numpy(len(window) - 1 - choice.column).to(depth)
            if not everyone:
                step.logits[index] = some.logits
            depth[index] = back
            parts.append(back)
        return torch.cat(parts)

    def _new_chooser(self, request: Request, window: tuple[int, ...]) -> Chooser:
        return Chooser(request.rule, self.lens, window, request.seed, projector=self.projector)

    def _own_sums(self, step: Step) -> Sums | None:
        """Sums of the model's own logits where those are rounded, from a product that is not."""
        if step.logits.element_size() >= 4 or not self.lens.keeps_final:
            return None
        return self._sums([(self.layers[-1], step.states[self.layers[-1]])])

    def _sums(self, parts: Sequence[tuple[int, Tensor]]) -> Sums:
        z, sums = self.projector.project(parts)
        return _sums_of(z) if sums is None else sums

    def _together(self, step: Step, groups: Mapping[Request, list[int]], depth: Tensor) -> Tensor:
        order = [row for rows in groups.values() for row in rows]
        everyone = order == list(range(len(depth)))
        index: Tensor | slice = slice(None) if everyone else _sent(order, depth.device)
        some = step if everyone else step.rows(index)
        reach = max(min(request.reach, len(self.layers) - 1) for request in groups)
        entropies, held = self._entropies(some, self.layers[::-1][: reach + 1])
        back = self._decide(some, entropies, groups)
        chosen = self._logits(some, back, held, reach)
        chosen = torch.where((back > 0)[:, None], chosen.to(some.logits), some.logits)
        if everyone:
            step.logits.copy_(chosen)
        else:
            step.logits[index] = chosen
        depth[index] = back
        return back

    def _entropies(self, step: Step, layers: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Entropies (n, layers) of some layers, `L` first, and their logits if they fit."""
        n, words = step.logits.shape
        own = step.logits.element_size() >= 4 and self.lens.keeps_final
        columns = [_sums_of(step.logits).entropy] if own else []
        rest = list(layers[1:] if own else layers)
        width = max(1, rows_held(words, step.logits.device) // max(1, n))
        fits = len(rest) <= width
        held = None
        for start in range(0, len(rest), width):
            parts = [(layer, step.states[layer]) for layer in rest[start : start + width]]
            z, sums = self.projector.project(parts)
            sums = _sums_of(z) if sums is None else sums
            columns.extend(sums.entropy.view(len(parts), n))
            if fits:
                held = z.view(len(parts), n, words)
                held = held if own else held[1:]
        return torch.stack(columns, dim=1), held

    def _decide(self, step: Step, entropies: Tensor, groups: Mapping[Request, list[int]]) -> Tensor:
        parts, start = [], 0
        for request, rows in groups.items():
            here = slice(start, start + len(rows))
            draws = None
            if request.randomises:
                draws = draw(request.seed, step.position[here], step.token[here])
            parts.append(steps_back(request.rule, entropies[here], draws))
            start += len(rows)
        return torch.cat(parts)

    def _logits(self, step: Step, back: Tensor, held: Tensor | None, reach: int) -> Tensor:
        """Logits of the chosen layers; of rows that stay at `L` those of any layer."""
        rows, before = torch.arange(len(back), device=back.device), (back - 1).clamp(min=0)
        if held is not None:
            return held[before, rows]
        layers = self.layers[-2::-1][:reach]
        states = torch.stack([step.states[layer] for layer in layers])[before, rows]
        z, _ = self.projector.project([(layers[0], states)])
        temperatures = [self.lens.temperature(layer) for layer in layers]
        if len(set(temperatures)) == 1:
            return z
        scales = _sent([temperatures[0] / t for t in temperatures], z.device)
        return z * scales[before, None].to(z)


def _grouped(requests: Sequence[Request]) -> dict[Request, list[int]]:
    """Rows that are decided alike; those of plain requests are left out."""
    # Requests that ask alike are mostly one object, which is known faster than its content.
    alike: dict[int, list[int]] = {}
    for row, request in enumerate(requests):
        alike.setdefault(id(request), []).append(row)
    groups: dict[Request, list[int]] = {}
    for rows in alike.values():
        request = requests[rows[0]]
        if request.reach > 0:
            groups.setdefault(request.group, []).extend(rows)
    return groups


def _sent(values: Sequence[float], device: torch.device) -> Tensor:
    """Numbers on a device, the host not waiting for it."""
    host = torch.tensor(values, pin_memory=device.type == "cuda")
    return host.to(device, non_blocking=True)


def entropies(logits: Tensor) -> Tensor:
    """Entropies (n,) of rows of logits, nats, from float32 sums; NaN where a row is no numbers."""
    return _sums_of(logits).entropy


def _sums_of(z: Tensor) -> Sums:
    few = max(1, _FEW_BYTES.get(z.device.type, 1 << 20) // (4 * z.shape[1]))
    return joined([sums_of(rows.float()) for rows in torch.split(z, few)])
