"""Fitting a whole lens: layer by layer, each saved when it is done.

Layers are fitted independently of each other, each with randomness of its own, and a checkpoint is
written beside the result after every layer. A run that was killed resumes, and its
lens is the one that the run would have made undisturbed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from empirical.lenses.affine import Task, Tell, fit_translation
from empirical.lenses.calibrated import Correction
from empirical.lenses.evaluation import evaluate
from empirical.lenses.files import LensFile, Origin, read_lens, write_lens
from empirical.lenses.states import States, gather, joined, split_prompts
from empirical.lenses.temperature import fit_temperature
from empirical.model.anatomy import Anatomy
from empirical.provenance import library_versions, now
from empirical.texts import Text
from stopping.errors import UserError
from stopping.support.store import kept_in

Advance = Callable[[], None]


@dataclass(frozen=True, eq=False)
class Parts:
    """States for training, validation and test."""

    train: States
    validation: States
    test: States


def fit_lens(
    anatomy: Anatomy,
    texts: Sequence[Text],
    origin: Origin,
    path: Path,
    command: str = "",
    advance: Advance = lambda: None,
    tell: Tell = lambda text: None,
    fitted: Callable[[LensFile], object] = lambda content: None,
) -> LensFile:
    """Fit a lens as `origin` describes and write it to `path`.

    Parameters
    ----------
    texts
        Prompts with completions; those without are left out.
    advance, tell
        Called after each text and each fitted layer; with what is being done.
    fitted
        Called with the lens before it is written, which may fail.

    Raises
    ------
    UserError
        If there are too few prompts, or reference tokens are asked for where there are none.
    """
    if origin.target == "reference" and origin.mode != "reference":
        raise UserError(
            "lens: the reference tokens of generated texts are the final layer's own choices; "
            "fit to them with --target final, or to worked solutions with --mode reference"
        )
    checkpoint = path.with_name(f".{path.name}.unfinished")
    content = _resumed(checkpoint, origin)
    corrected = [n for n in origin.layers if n < origin.depth or origin.final_too]
    with kept_in(checkpoint, lambda: bool(content.corrections)):
        parts = gather_parts(anatomy, texts, origin, advance)
        for layer in corrected:
            if layer not in content.corrections:
                correction, epoch = fit_layer(anatomy, parts, origin, layer, tell)
                content = replace(
                    content,
                    corrections={**content.corrections, layer: correction},
                    epochs={**content.epochs, layer: epoch},
                )
                write_lens(checkpoint, content)
            advance()
        tell("test prompts")
        report = evaluate(
            anatomy,
            content.corrections,
            content.epochs,
            parts.test,
            content.name,
            origin.seed,
        )
        content = replace(
            content, report=report, versions=library_versions(), date=now(), command=command
        )
        fitted(content)
        write_lens(path, content)
    checkpoint.unlink(missing_ok=True)
    return content


def gather_parts(
    anatomy: Anatomy, texts: Sequence[Text], origin: Origin, advance: Advance
) -> Parts:
    """Deal the prompts to three parts and sample the tokens of each."""
    rng = np.random.default_rng(origin.seed)
    third = -(-origin.tokens // 3)
    split = split_prompts([text for text in texts if text.completion_ids], rng)
    sizes = origin.tokens, third, third
    parts = (
        gather(anatomy, part, origin.layers, size, rng, advance)
        for part, size in zip(split, sizes, strict=True)
    )
    return Parts(*parts)


def fit_layer(
    anatomy: Anatomy, parts: Parts, origin: Origin, layer: int, tell: Tell
) -> tuple[Correction, int | None]:
    """Fit one layer; also return the epoch whose translation was kept."""
    tell(f"layer {layer}")
    # No translation brings the final layer nearer to its own distribution.
    own_target = layer == origin.depth and origin.target == "final"
    if origin.kind == "temperature" or own_target:
        # Nothing is trained that could be stopped too late: both parts set the temperature.
        both = joined(parts.train, parts.validation)
        return Correction(fit_temperature(anatomy, both, layer, origin.target)), None
    task = Task(anatomy, parts.train, parts.validation, layer, origin.target, origin.rank)
    found = fit_translation(task, origin.epochs, seed=origin.seed * 1000 + layer, tell=tell)
    translated = Correction(1.0, found.translation)
    # On tokens that trained the translation it looks too good, and so would its temperature.
    temperature = fit_temperature(anatomy, parts.validation, layer, origin.target, translated)
    epoch = None if found.translation is None else found.epoch
    return replace(translated, temperature=temperature), epoch


def _resumed(checkpoint: Path, origin: Origin) -> LensFile:
    """Layers already fitted by an earlier run of the same origin, none otherwise."""
    fresh = LensFile(origin, {})
    if not checkpoint.is_file():
        return fresh
    try:
        before = read_lens(checkpoint)
    except UserError:
        return fresh
    return before if before.origin == origin else fresh
