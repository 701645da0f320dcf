"""A whole capture run: model, problems and settings in, one trace file out, part by part."""

import abc
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from empirical.model.load import LoadedModel
from empirical.provenance import Mode, Provenance, Storage, now
from empirical.texts import Text, reference_texts, texts_of
from empirical.traces.files import PARTS, Traces, merge_traces, write_traces
from empirical.traces.split import Shard
from stopping.errors import UserError
from stopping.support.results import Result
from stopping.support.store import Parts

if TYPE_CHECKING:
    from empirical.capture.batch import Columns
    from empirical.lenses import Origin
    from empirical.problems import Problem

# Called after each part with the tokens and the prompts done so far.
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """What is traced, and how.

    `layers` is the number of layers traced, counted from the last, None for all; `tokens` ends
    the run after the part with which at least so many tokens are traced, None traces every prompt;
    `batch` is the number of texts per forward pass, and a part holds twice as many.
    """

    mode: Mode = "reference"
    chat: bool = False
    layers: int | None = 12
    tokens: int | None = None
    batch: int = 8
    max_new_tokens: int = 160
    storage: Storage = "float16"


@dataclass(frozen=True)
class Summary(Result):
    """How a finished run went; rates count only what this process did.

    `warning` says what limits the use of the traces, and is empty where nothing does.
    """

    file: str
    bytes: int
    tokens: int
    prompts: int
    layers: int
    seconds: float
    tokens_per_second: float
    provenance: Provenance
    warning: str = ""


class AbstractSource(abc.ABC):
    """A model whose layers can be read, wherever it runs.

    Attributes
    ----------
    loaded : its tokenizer, name, weights and precision.
    depth, vocabulary_size : its layers, and the width of its logits.
    architecture : the name of its class.
    lens : the name of the lens that its layers are read through.
    lens_file : where it stands; None for the raw one.
    states : where states stand that are read instead of running it; empty where it is run.
    """

    loaded: LoadedModel
    depth: int
    vocabulary_size: int
    architecture: str
    lens: str
    lens_file: Path | None = None
    states: str = ""

    @abc.abstractmethod
    def texts(self, problems: Sequence[tuple[int, "Problem"]], settings: Settings) -> list[Text]:
        """Prompts and completions of problems with consecutive numbers."""

    @abc.abstractmethod
    def capture(
        self, texts: Sequence[Text], provenance: Provenance, traced: Sequence[int], batch: int
    ) -> Traces:
        """Trace the completions of texts at the layers `traced`."""


class AbstractReader(AbstractSource):
    """A source that reads texts that are given, one after the other, and writes none."""

    refusal: ClassVar[str]
    """What is said where the model's own texts are asked for."""

    def texts(self, problems: Sequence[tuple[int, "Problem"]], settings: Settings) -> list[Text]:
        """Their own solutions.

        Raises
        ------
        UserError
            If the model's own texts are asked for.
        """
        if settings.mode != "reference":
            raise UserError(self.refusal)
        return reference_texts(self.loaded, problems, settings.chat)

    def capture(
        self, texts: Sequence[Text], provenance: Provenance, traced: Sequence[int], batch: int
    ) -> Traces:
        """One text after the other, those without a completion left out."""
        from empirical.capture.batch import traces_of

        texts = [text for text in texts if text.completion_ids]
        if not texts:
            return Traces.empty(tuple(traced), provenance)
        return traces_of(self.columns(texts, tuple(traced)), texts, traced, provenance)

    @abc.abstractmethod
    def columns(self, texts: Sequence[Text], traced: tuple[int, ...]) -> "list[Columns]":
        """What the traces hold of each text."""


@final
class InTransformers(AbstractSource):
    """A model of transformers, its layers read through the raw lens or that of a file."""

    def __init__(self, loaded: LoadedModel, lens_file: Path | None = None) -> None:
        from empirical.lenses import lens_of
        from empirical.model.anatomy import Anatomy

        self.loaded, self.lens_file = loaded, lens_file
        self.anatomy = anatomy = Anatomy.of(loaded.model)
        self.depth, self.vocabulary_size = len(anatomy.layers), anatomy.vocabulary_size
        self.architecture = type(loaded.model).__name__
        self.reads = lens_of(lens_file, anatomy)
        self.lens = self.reads.name

    def texts(self, problems: Sequence[tuple[int, "Problem"]], settings: Settings) -> list[Text]:
        """Their own solutions, or what the model writes, some prompts at a time."""
        return texts_of(
            self.loaded,
            [problem for _, problem in problems],
            settings.mode,
            settings.chat,
            settings.max_new_tokens,
            batch=settings.batch,
            first=problems[0][0],
        )

    def capture(
        self, texts: Sequence[Text], provenance: Provenance, traced: Sequence[int], batch: int
    ) -> Traces:
        """One forward pass for each batch."""
        from empirical.capture.batch import capture

        return capture(self.anatomy, texts, provenance, traced, batch, self.reads)


def trace_problems(
    model: LoadedModel | AbstractSource,
    problems: Sequence["Problem"],
    settings: Settings,
    out: Path,
    *,
    shard: Shard | None = None,
    fresh: bool = False,
    seed: int | None = None,
    command: str = "",
    report: Report = lambda tokens, prompts: None,
) -> Summary:
    """Trace problems into the file `out`, going on where an interrupted run has ended.

    A loaded model is read through the raw logit lens; `InTransformers(model, lens_file)` reads it
    through that of a file. With `shard`, only its parts are traced, into the shard's own file and
    in full precision: what rounding costs is measured when the shards are merged. Each shard then
    stops at its share of `settings.tokens`.

    Raises
    ------
    UserError
        If a prompt does not fit, `out` or its parts belong to another run, there are more shards
        than parts, no token was traced, or the model's anatomy is unknown.
    """
    from empirical.lenses import require_lens
    from empirical.model.anatomy import last_layers

    began = time.perf_counter()
    source = model if isinstance(model, AbstractSource) else InTransformers(model)
    traced = last_layers(source.depth, settings.layers)
    provenance = source.loaded.provenance(
        problems,
        architecture=source.architecture,
        layers=source.depth,
        vocabulary_size=source.vocabulary_size,
        mode=settings.mode,
        chat=settings.chat,
        max_new_tokens=settings.max_new_tokens if settings.mode == "generated" else None,
        lens=source.lens,
        seed=seed,
        command=command,
    )
    lens_file = source.lens_file
    warning = "" if lens_file is None else fitted_here(require_lens(lens_file).origin, problems)
    size, enough = 2 * settings.batch, settings.tokens
    if shard is not None:
        _require_parts(shard, len(problems), size)
        provenance = replace(provenance, shards=shard.count)
        out = shard.file(out)
        enough = None if enough is None else -(-enough // shard.count)
    # All that a part depends on: the same in every process that adds to a run.
    identity = {**provenance.run, "probed": list(traced), "batch": settings.batch}
    if source.states:
        identity["states"] = source.states
    finished = Parts.open(out, identity, PARTS, fresh=fresh)

    parts: list[Traces] = []
    tokens = fresh_tokens = prompts = 0
    with finished.kept():
        for number, start in enumerate(range(0, len(problems), size)):
            if enough is not None and tokens >= enough:
                break
            if shard is not None and not shard.does(number):
                continue
            part = finished.part(number)
            if part is None:
                texts = source.texts(list(enumerate(problems))[start : start + size], settings)
                here = replace(provenance, shard=number, date=now())
                part = source.capture(texts, here, traced, settings.batch)
                part = replace(part, vocabulary=_words(source.loaded.tokenizer, part))
                finished.keep(number, part)
                fresh_tokens += len(part)
            parts.append(part)
            tokens += len(part)
            prompts += len(problems[start : start + size])
            report(tokens, prompts)

    whole = merge_traces(parts)
    if len(whole) == 0:
        raise UserError("trace: no completion has a token, so there is nothing to trace")
    if shard is not None:
        numbered = replace(whole.provenance, shard=shard.number, shards=shard.count)
        whole = replace(whole, provenance=numbered)
    written = write_traces(out, whole, "float32" if shard else settings.storage)
    finished.remove()
    seconds = time.perf_counter() - began
    return Summary(
        file=out.name,
        bytes=out.stat().st_size,
        tokens=len(whole),
        prompts=len(np.unique(whole.prompt)),
        layers=len(traced),
        seconds=seconds,
        tokens_per_second=fresh_tokens / seconds,
        provenance=written,
        warning=warning,
    )


def fitted_here(origin: "Origin", problems: Sequence["Problem"]) -> str:
    """Say so if a lens was fitted on prompts that are traced.

    A lens file keeps the hash of its prompts: it is compared with the built-in problems of its
    seed, and with the first of the traced prompts.
    """
    from empirical.problems import draw_problems, prompts_hash

    sets: list[Sequence[Problem]] = [problems[: origin.prompts]]
    with suppress(UserError):  # more than are built in
        sets.append(draw_problems(origin.prompts, origin.seed))
    fitted = {p.prompt for s in sets if prompts_hash(s) == origin.prompts_hash for p in s}
    common = sum(problem.prompt in fitted for problem in problems)
    if not common:
        return ""
    return (
        f"the lens was fitted on {common} of the {len(problems)} prompts: on them it looks better "
        "than it is; trace prompts that it has not seen (another --seed, or --prompts)"
    )


def _require_parts(shard: Shard, prompts: int, size: int) -> None:
    parts = -(-prompts // size)
    if shard.count > parts:
        raise UserError(
            f"{shard.count} shards, but {prompts} prompts are only {parts} part(s) of {size}; use "
            "fewer processes, a smaller --batch or more prompts"
        )


def _words(tokenizer: Any, traces: Traces) -> dict[int, str]:
    ids = np.union1d(traces.token, traces.top1).tolist()
    # Some models have more columns of logits than entries.
    return {token: tokenizer.decode([token]) for token in ids if token < len(tokenizer)}
