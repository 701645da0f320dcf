"""The record of one generation: of all that its forward passes decode, what stands in its text.

A pass decodes positions that no text keeps: those of the prompt where the model returns all its
logits or reads it in chunks, guesses of a speculation that are dropped, the second prompt of
classifier-free guidance, a row's padding once it has ended. So while `generate` runs, passes wait
until it says how long its text has become (`empirical.decoding.hearing`). Of the waiting passes,
the first one that predicted a new place of the text is the one that wrote it: whatever else the
model is asked in a step is asked after that, and a guess that was dropped is decoded again in a
later step.

A prompt that was learned (PEFT) stands before the text, in the model alone: the first pass of a
generation says how long it is.

Outside of `generate` a text cannot be told from a prompt, and every position counts, where it is
decoded again the last time.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from empirical.decoding.choosing import Choice
from empirical.decoding.memory import NO_ROW, Memory
from empirical.decoding.positions import Inputs, Positions
from empirical.decoding.steps import ABSENT, Steps
from stopping.errors import UserError
from stopping.types import BoolArray, IntArray

Number = TypeVar("Number", bound=np.generic)


class Recorder:
    """Gathers the steps of one generation.

    Attributes
    ----------
    before : Inputs or None
        The pass before, if it belongs to the same generation.
    text : int or None
        Length of the text that `generate` is at, in places of the model; None outside of it.
    memory : Memory
        What a rule that remembers has seen of each row.
    """

    def __init__(self, layers: Sequence[int]) -> None:
        self._layers = np.array(layers, dtype=np.int32)
        self.before: Inputs | None = None
        self.text: int | None = None
        self.memory = Memory()
        self._begun = 0
        self._kept: list[Steps] = []
        self._waiting: list[tuple[IntArray, Steps]] = []
        self._ended: BoolArray | None = None
        self._learned: int | None = 0

    def open(self, text: int, fresh: bool = True) -> None:
        """Start anew, with a prompt of so many places; `fresh` if the model has read none of it."""
        self._forget()
        self.text = self._begun = text
        self._learned = None if fresh else 0

    def hear(self, length: int, done: BoolArray) -> None:
        """Learn that `generate` has written up to `length` places.

        `done`, shape (rows,), says which rows have come to their end; with beams, which change
        their rows at each step, it has another shape and says nothing.
        """
        assert self.text is not None, "a text is heard between `open` and `close`"
        if self._waiting:
            # Another prompt's passes may have other rows.
            rows = len(self._waiting[0][1].position)
            same = [part for part in self._waiting if len(part[1].position) == rows]
            places, first = np.unique(np.concatenate([p for p, _ in same]), return_index=True)
            new = first[(places >= self.text) & (places < length)]
            if len(new) < length - self.text:
                # The model counts its places otherwise: a step ends where its last pass does.
                new = np.arange(sum(len(p) for p, _ in same))[self.text - length :]
            steps = Steps.joined([s for _, s in same]).at(np.arange(rows)[:, None], new)
            if self._ended is not None:
                steps = steps.where(~self._ended[:, None])
            self._kept.append(steps)
            if done.shape == (rows,):
                self._ended = done if self._ended is None else self._ended | done
        self._waiting.clear()
        self.text = length

    def finish(self, beams: Tensor | None) -> None:
        """Learn that `generate` is done; `beams` are its beam indices, (sequences, steps)."""
        if not self._kept:  # it never said what it wrote
            self._kept = [steps for _, steps in self._waiting]
        elif beams is not None:
            self._kept = [_of_beams(self.steps(), beams.cpu().numpy())]

    def close(self) -> None:
        """End the generation, whether it was finished or not."""
        self._waiting.clear()
        self.text = self.before = None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Leave out what is decoded in this context."""
        waiting = len(self._waiting)
        yield
        del self._waiting[waiting:]

    def begin(self, inputs: Inputs) -> None:
        """Start anew if this forward pass, outside of `generate`, starts new sequences."""
        if self.text is None and inputs.begins(self.before):
            self._forget()
        if self.text is not None and self._learned is None:
            self._learned = inputs.learned(self.text)
        self.before = inputs

    def streams(self, places: Positions) -> NDArray[np.int64]:
        """Return the row of each real place, `NO_ROW` for one that only reads the prompt."""
        row, column = np.nonzero(places.real)
        if self.text is None:
            return row
        written = places.column[column] + 1 - (self._learned or 0) >= self._begun
        return np.where(written, row, NO_ROW)

    def add(self, places: Positions, choice: Choice) -> None:
        """Record what was chosen at the real places of a forward pass, in their order."""
        real = places.real
        emitted = choice.emitted
        if emitted is None:
            emitted = choice.top1[np.arange(len(choice.column)), choice.column]
        steps = Steps(
            layers=self._layers,
            position=np.where(real, places.position + 1, ABSENT).astype(np.int32),
            layer=_spread(real, self._layers[choice.column], self._layers[-1]),
            entropy=_spread(real, choice.entropy.astype(np.float32), np.float32(np.nan)),
            top1=_spread(real, choice.top1.astype(np.int32), np.int32(ABSENT)),
            token=_spread(real, emitted.astype(np.int32), np.int32(ABSENT)),
            projections=_spread(real, choice.projections.astype(np.int32), np.int32(0)),
        )
        if self.text is None:
            self._kept.append(steps)
        else:
            self._waiting.append((places.column + 1 - (self._learned or 0), steps))

    @property
    def latest(self) -> Steps:
        """Steps of the last forward pass."""
        if self._waiting:
            return self._waiting[-1][1]
        if not self._kept:
            raise UserError("statistics: nothing has been decoded yet")
        return self._kept[-1]

    def steps(self) -> Steps:
        """All steps of the generation, each position once and for its last time."""
        if not self._kept:
            return self.latest
        joined = Steps.joined(self._kept)
        if len(self._kept) == 1 and joined.present.all():
            return joined
        order = [_last_of_each(row) for row in joined.position]
        steps = max(map(len, order))
        # Rows with fewer steps are filled up with their column 0, and marked as absent.
        index = np.array([[*row, *[0] * (steps - len(row))] for row in order], dtype=np.intp)
        lengths = np.array([len(row) for row in order])
        return joined.at(np.arange(len(order))[:, None], index).within(lengths)

    def _forget(self) -> None:
        self._kept.clear()
        self._waiting.clear()
        self.memory.clear()
        self._ended = self.before = None


class Recorders:
    """The records of several threads, each of which generates by itself."""

    def __init__(self, layers: Sequence[int]) -> None:
        self._layers = layers
        self._of: dict[int, Recorder] = {}

    def clear(self) -> None:
        """Forget all."""
        self._of.clear()

    def mine(self) -> Recorder:
        """Return the recorder of this thread."""
        return self._of.setdefault(threading.get_ident(), Recorder(self._layers))

    def latest(self) -> Recorder:
        """Return the recorder to read: that of this thread if it has generated.

        Raises
        ------
        UserError
            If nothing has been decoded, or only other threads have, and more than one.
        """
        mine = self._of.get(threading.get_ident())
        if mine is not None:
            return mine
        if len(self._of) == 1:
            return next(iter(self._of.values()))
        raise UserError(
            "statistics: several threads have generated; read them in the thread that generated"
            if self._of
            else "statistics: nothing has been decoded yet"
        )


def _of_beams(steps: Steps, beams: IntArray) -> Steps:
    """Rows of the returned sequences instead of beams; -1 is behind a sequence's end."""
    beams = beams[:, : steps.position.shape[1]]
    return steps.at(np.maximum(beams, 0), np.arange(beams.shape[1])).where(beams >= 0)


def _last_of_each(position: NDArray[np.int32]) -> list[int]:
    """Columns of the last occurrence of each position, positions ascending."""
    last = {int(p): column for column, p in enumerate(position) if p != ABSENT}
    return [last[p] for p in sorted(last)]


def _spread(real: BoolArray, values: NDArray[Number], fill: Number) -> NDArray[Number]:
    """Put the values of real places into an array of all places, `fill` elsewhere."""
    spread = np.full((*real.shape, *values.shape[1:]), fill, dtype=values.dtype)
    spread[real] = values
    return spread
