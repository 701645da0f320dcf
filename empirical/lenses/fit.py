"""Fitting a whole lens: layer by layer, each saved when it is done.

Layers are fitted independently of each other, each with randomness of its own, and a
part is kept beside the result for every layer. A run that was killed resumes, and its lens is the
one that the run would have made undisturbed; parts of another fit are thrown away.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from empirical.lenses.affine import Task, fit_translation
from empirical.lenses.calibrated import Correction
from empirical.lenses.evaluation import evaluate
from empirical.lenses.files import LensFile, Origin, read_lens, write_lens
from empirical.lenses.jacobian import MeanJacobian, mean_jacobians
from empirical.lenses.states import HeldOut, States, gather, joined, split_prompts
from empirical.lenses.temperature import fit_temperature
from empirical.lenses.training import Tell
from empirical.model.anatomy import Anatomy
from empirical.provenance import library_versions, now
from empirical.texts import Text
from stopping.errors import UserError
from stopping.support.documents import plain
from stopping.support.store import Codec, Parts

Advance = Callable[[], None]
LAYERS = Codec("safetensors", write_lens, read_lens)
"""Parts of a fit: lenses of one layer."""


@dataclass(frozen=True, eq=False)
class Sample:
    """States for training, validation and test, and the texts of the training prompts."""

    train: States
    validation: States
    test: States
    texts: Sequence[Text] = ()


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
    kept = Parts.open(path, plain(origin), LAYERS, replace=True)
    corrected = [n for n in origin.layers if n < origin.depth or origin.final_too]
    corrections: dict[int, Correction] = {}
    epochs: dict[int, int | None] = {}
    errors: dict[int, float] = {}
    with kept.kept():
        sample = sample_of(anatomy, texts, origin.layers, origin.tokens, origin.seed, advance)
        parts = {layer: kept.part(layer) for layer in corrected}
        jacobians: Mapping[int, MeanJacobian] = {}
        if origin.kind == "jacobian":
            tell("Jacobians")
            missing = [n for n, part in parts.items() if part is None and n < origin.depth]
            jacobians = mean_jacobians(anatomy, sample.texts, missing, origin.seed)
        for layer, part in parts.items():
            if part is None:
                found = jacobians.get(layer)
                correction, epoch = fit_layer(anatomy, sample, origin, layer, tell, found)
                error = {} if found is None else {layer: found.error}
                one = LensFile(
                    origin, {layer: epoch}, errors=error, corrections={layer: correction}
                )
                part = kept.keep(layer, one)
            corrections.update(part.corrections)
            epochs.update(part.epochs)
            errors.update(part.errors)
            advance()
        content = LensFile(origin, epochs, errors=errors, corrections=corrections)
        tell("test prompts")
        report = evaluate(
            anatomy,
            content.corrections,
            content.epochs,
            sample.test,
            content.name,
            origin.seed,
            depth=origin.depth,
        )
        content = replace(
            content, report=report, versions=library_versions(), date=now(), command=command
        )
        fitted(content)
        write_lens(path, content)
    kept.remove()
    return content


def sample_of(
    anatomy: Anatomy,
    texts: Sequence[Text],
    layers: Sequence[int],
    tokens: int,
    seed: int,
    advance: Advance = lambda: None,
    by: HeldOut = "prompts",
) -> Sample:
    """Deal the prompts to three parts and sample the tokens of each.

    Parameters
    ----------
    tokens
        Most training tokens; validation and test have a third of it each.
    by
        What is dealt whole: prompts, or groups of them.
    """
    rng = np.random.default_rng(seed)
    third = -(-tokens // 3)
    split = split_prompts([text for text in texts if text.completion_ids], rng, by)
    sizes = tokens, third, third
    train, validation, test = (
        gather(anatomy, part, layers, size, rng, advance)
        for part, size in zip(split, sizes, strict=True)
    )
    return Sample(train, validation, test, split[0])


def fit_layer(
    anatomy: Anatomy,
    sample: Sample,
    origin: Origin,
    layer: int,
    tell: Tell,
    jacobian: MeanJacobian | None = None,
) -> tuple[Correction, int | None]:
    """Fit one layer; also return the epoch whose translation was kept."""
    tell(f"layer {layer}")
    # No translation brings the final layer nearer to its own distribution.
    own_target = layer == origin.depth and origin.target == "final"
    if origin.kind != "affine" or own_target:
        # Nothing is trained that could be stopped too late: both parts set the temperature.
        both = joined(sample.train, sample.validation)
        read = Correction(1.0, None if jacobian is None else jacobian.translation)
        temperature = fit_temperature(anatomy, both, layer, origin.target, read)
        return replace(read, temperature=temperature), None
    task = Task(anatomy, sample.train, sample.validation, layer, origin.target, origin.rank)
    found = fit_translation(task, origin.epochs, seed=origin.seed * 1000 + layer, tell=tell)
    translated = Correction(1.0, found.best)
    # On tokens that trained the translation it looks too good, and so would its temperature.
    temperature = fit_temperature(anatomy, sample.validation, layer, origin.target, translated)
    epoch = None if found.best is None else found.epoch
    return replace(translated, temperature=temperature), epoch
