"""The one runner: problems answered by decoders side by side, batch by batch, resumable.

An *arm* is one way of answering all problems: plainly, by a rule or by a rival. `evaluate` compares
arms with plain decoding; the paper's tables are a plan of arms.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from empirical.evaluation.answers import Answer, judge
from empirical.evaluation.sampling import SeededDraws
from empirical.evaluation.sequential import drawn_order
from empirical.evaluation.trail import Trail, trail_of
from empirical.model.fitted import require_own_fit
from empirical.model.load import LoadedModel
from empirical.problems import Problem
from empirical.provenance import Provenance, now
from empirical.texts import generated_texts
from stopping.errors import UserError
from stopping.support.store import Parts, json_codec

if TYPE_CHECKING:
    from empirical.decoding.custom import AbstractDecoder
    from empirical.lenses import AbstractLens
    from empirical.model.anatomy import Anatomy
    from stopping.rules import AbstractRule

PLAIN = "plain"
Batch: TypeAlias = tuple[Answer, ...]
# Called after each batch with the batches done so far, of all.
Report = Callable[[int, int], None]
# Asked after each batch of all arms, with the answers in the order given, whether they suffice.
Suffices = Callable[[Mapping[str, Sequence[Answer]]], bool]


@dataclass(frozen=True)
class Settings:
    """How problems are answered: in batches, in at most `max_new_tokens` tokens.

    `seed` is that of randomised rules, of the bootstrap, and of the draws where the `temperature`
    is above 0; at 0 the most probable token is taken. With `until_decided` problems are answered in
    random order, and no more of them than a decision needs.
    """

    chat: bool = False
    max_new_tokens: int = 160
    batch: int = 8
    seed: int = 0
    temperature: float = 0.0
    until_decided: bool = False


@dataclass(frozen=True)
class Arm:
    """One way of answering all problems: a rule or rival, None for plain decoding, and how."""

    rule: "AbstractRule | AbstractDecoder | None"
    settings: Settings


@dataclass(frozen=True)
class Answered:
    """What all arms answered, each in the order of the problems, and how it was made."""

    provenance: Provenance
    answers: dict[str, list[Answer]]


def run_arms(
    loaded: LoadedModel,
    problems: Sequence[Problem],
    arms: Mapping[str, Arm],
    settings: Settings,
    *,
    lens: Path | None = None,
    out: Path | None = None,
    fresh: bool = False,
    problems_seed: int | None = None,
    command: str = "",
    report: Report = lambda done, total: None,
    suffices: Suffices = lambda answers: False,
) -> Answered:
    """Answer the problems under each arm; what was answered once is not answered again.

    Parameters
    ----------
    arms
        By the keys of their answers.
    settings
        Of the run: all that the answers depend on, besides each arm's own.
    lens
        A lens file; default the raw lens.
    out
        Where results will stand: finished batches are kept beside it.
    fresh
        Throw away what an earlier run left there.
    suffices
        Asked after each batch of all arms whether to stop.

    Raises
    ------
    UserError
        If a problem has no answer or does not fit, a rule or the lens is another model's, or `out`
        belongs to another run.
    """
    from empirical.lenses import lens_of
    from empirical.model.anatomy import Anatomy

    require_answers(problems)
    anatomy = Anatomy.of(loaded.model)
    reader = lens_of(lens, anatomy)
    provenance = loaded.provenance(
        problems,
        architecture=type(loaded.model).__name__,
        layers=len(anatomy.layers),
        vocabulary_size=anatomy.vocabulary_size,
        mode="generated",
        chat=settings.chat,
        max_new_tokens=settings.max_new_tokens,
        lens=reader.name,
        seed=problems_seed,
        command=command,
        date=now(),
    )
    for arm in arms.values():
        if arm.rule is not None:
            require_own_fit(arm.rule, provenance.read_as)
    parts = None
    if out is not None:  # a series of batches for each arm: another one may be added later
        codec = json_codec(Batch)
        parts = Parts.open(out, identity(provenance, settings), codec, fresh=fresh)
    order = order_of(problems, settings)
    return Answered(
        provenance,
        answer_all(loaded, problems, arms, parts, anatomy, reader, report, order, suffices),
    )


def order_of(problems: Sequence[Problem], settings: Settings) -> list[int]:
    """Order in which problems are answered.

    Texts of like length go together, so that little is padded; a comparison that may stop early
    takes them in random order.
    """
    if settings.until_decided:
        return [int(turn) for turn in drawn_order(len(problems), settings.seed)]
    return sorted(range(len(problems)), key=lambda index: len(problems[index].prompt))


def require_answers(problems: Sequence[Problem]) -> None:
    """Raise a UserError unless every problem has an answer to compare with."""
    for index, problem in enumerate(problems):
        if not problem.answer:
            raise UserError(
                f"prompt {index} ({problem.id}) has no answer to compare with; give every line of "
                "the file the field 'answer'"
            )


def answer_all(
    loaded: LoadedModel,
    problems: Sequence[Problem],
    arms: Mapping[str, Arm],
    parts: Parts[Batch] | None,
    anatomy: "Anatomy",
    lens: "AbstractLens | None" = None,
    report: Report = lambda done, total: None,
    order: Sequence[int] | None = None,
    suffices: Suffices = lambda answers: False,
) -> dict[str, list[Answer]]:
    """Answer problems under each arm, batch by batch, until all are or these suffice.

    They are returned in the order of the problems, and answered in another `order` if one is given.

    All arms have batches of one size. What `parts` holds already is not answered again.
    """
    answers: dict[str, list[Answer]] = {arm: [] for arm in arms}
    size = next(iter(arms.values())).settings.batch
    if order is None:
        order = range(len(problems))
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    done = 0
    with nullcontext() if parts is None else parts.kept():
        for number, batch in enumerate(batches):
            for name, arm in arms.items():
                given = None if parts is None else parts.part(number, name)
                if given is None:
                    some = [(index, problems[index]) for index in batch]
                    given = answer_batch(loaded, some, arm.rule, arm.settings, anatomy, lens)
                    if parts is not None:
                        parts.keep(number, given, name)
                answers[name].extend(given)
                done += 1
                report(done, len(batches) * len(arms))
            if suffices(answers):
                break
    return {arm: sorted(given, key=lambda a: a.problem) for arm, given in answers.items()}


def answer_batch(
    loaded: LoadedModel,
    problems: Sequence[tuple[int, Problem]],
    rule: "AbstractRule | AbstractDecoder | None",
    settings: Settings,
    anatomy: "Anatomy | None" = None,
    lens: "AbstractLens | None" = None,
) -> tuple[Answer, ...]:
    """Answer one batch of (index, problem) under a rule, or plainly where it is None."""
    from empirical.decoding import ConfidentDecoding

    decoding = (
        ConfidentDecoding(loaded.model, rule, lens, settings.seed, anatomy=anatomy)
        if rule is not None
        else None
    )
    draws = None
    if settings.temperature > 0:
        numbers = [index for index, _ in problems]
        draws = partial(SeededDraws, numbers, temperature=settings.temperature, seed=settings.seed)
    with decoding or nullcontext():
        texts = generated_texts(loaded, problems, settings.chat, settings.max_new_tokens, draws)
    lengths = [len(text.completion_ids) for text in texts]
    moved = substituted = np.zeros(len(texts), dtype=np.intp)
    trails: list[Trail | None] = [None] * len(texts)
    if decoding is not None:
        steps = decoding.statistics.within(lengths)
        moved, substituted = steps.moved.sum(axis=1), steps.substituted.sum(axis=1)
        trails = [trail_of(steps, row, length) for row, length in enumerate(lengths)]
    return tuple(
        judge(
            text.prompt,
            problem,
            loaded.tokenizer.decode(text.completion_ids),
            tokens=length,
            ended=length < settings.max_new_tokens,
            moved=int(moved[row]),
            substituted=int(substituted[row]),
            trail=trails[row],
        )
        for row, (text, length, (_, problem)) in enumerate(
            zip(texts, lengths, problems, strict=True)
        )
    )


def identity(provenance: Provenance, settings: Settings) -> dict[str, Any]:
    """Return all that an answer depends on but the rule."""
    drawn: dict[str, Any] = {}
    if settings.temperature > 0:
        drawn["temperature"] = settings.temperature
    if settings.until_decided:
        drawn["order"] = "random"
    return {**provenance.run, "batch": settings.batch, "rules' seed": settings.seed, **drawn}
