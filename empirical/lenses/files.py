"""Lens files: safetensors with everything needed to judge a lens, or to refuse it.

A lens belongs to one head. The file carries the SHA-256 of the model's final norm and head, and
loading it into a model with another head is an error: the corrections would be applied to logits
that they were not fitted to. The hash is of the weights rounded to bfloat16, so that one model has
one hash in float32 and in bfloat16. It cannot tell a fine-tuned model from its base if the
fine-tuning left final norm and head as they were; `Origin.model` says which of them the lens was
fitted on.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from empirical.lenses.base import AbstractLens, RawLens
from empirical.lenses.calibrated import CalibratedLens, Correction, Translation
from empirical.lenses.evaluation import LensReport
from empirical.lenses.states import Target
from empirical.model.anatomy import Anatomy
from empirical.provenance import Mode
from stopping.errors import UserError
from stopping.support.documents import Format
from stopping.support.files import written_aside

FORMAT = Format("layer-stopping lens", 1, "lens file", "fit one with `stopping lens fit`")
Kind = Literal["temperature", "affine", "jacobian"]

_HASHED_ROWS = 1 << 14


@dataclass(frozen=True)
class Origin:
    """What a lens was fitted on and how; equal origins give equal lenses.

    Attributes
    ----------
    rank : int or None
        Rank of the translations; None if they are full, or if there are none.
    depth, hidden, vocabulary : int
        Layers of the model, numbers per residual state, width of the logits.
    head : str
        See `head_hash`.
    tokens : int
        Most training tokens; validation and test have a third of them each.
    final_too : bool
        Whether the final layer is corrected like the others.
    """

    kind: Kind
    rank: int | None
    target: Target
    layers: tuple[int, ...]
    model: str
    architecture: str
    depth: int
    hidden: int
    vocabulary: int
    head: str
    weights: Mapping[str, str]
    mode: Mode
    chat: bool
    prompts_hash: str
    prompts: int
    seed: int
    tokens: int
    epochs: int
    final_too: bool = False
    dtype: str = "float32"


@dataclass(frozen=True, eq=False)
class About:
    """What stands beside the tensors.

    `errors` are the relative errors of a Jacobian lens's matrices, by layer.
    """

    origin: Origin
    epochs: Mapping[int, int | None] = field(default_factory=dict)
    report: LensReport | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = ""
    command: str = ""
    errors: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class LensFile(About):
    """The content of a lens file; `corrections` may lack layers while fitting is under way."""

    corrections: Mapping[int, Correction]

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of the SHA-256 of the numbers."""
        digest = hashlib.sha256()
        for name, tensor in sorted(_tensors(self.corrections).items()):
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()[:8]

    @property
    def name(self) -> str:
        """Kind, target and fingerprint."""
        kind = str(self.origin.kind)
        if kind == "affine":
            kind += " full" if self.origin.rank is None else f" rank {self.origin.rank}"
        return f"{kind}, {self.origin.target}, {self.fingerprint}"

    def lens(self, anatomy: Anatomy) -> CalibratedLens:
        """Put the lens before the model's final norm and head, on the devices of its layers."""
        placed = {}
        for layer, correction in self.corrections.items():
            device = next(anatomy.layers[layer - 1].parameters()).device
            moved = correction.translation
            if moved is not None:
                factors = tuple(factor.to(device) for factor in moved.factors)
                moved = Translation(factors, moved.bias.to(device))
            placed[layer] = Correction(correction.temperature, moved)
        return CalibratedLens(anatomy, placed, self.name)


def load_lens(path: Path, anatomy: Anatomy) -> CalibratedLens:
    """Read a lens for the model of `anatomy`.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another kind or newer, or was fitted for another head.
    """
    content = require_lens(path)
    require_own_head(
        path, content.origin, len(anatomy.layers), anatomy.vocabulary_size, head_hash(anatomy)
    )
    return content.lens(anatomy)


def require_own_head(
    path: Path, origin: Origin, depth: int, vocabulary: int, head: str | None
) -> None:
    """Raise a UserError unless a lens was fitted for such a head; None is a hash not known."""
    if (origin.depth, origin.vocabulary) != (depth, vocabulary):
        raise UserError(
            f"{path}: fitted for {origin.model} with {origin.depth} layers and "
            f"{origin.vocabulary:,} entries; this model has {depth} and "
            f"{vocabulary:,}; fit a lens for it with `stopping lens fit`"
        )
    if head not in (None, origin.head):
        raise UserError(
            f"{path}: fitted for {origin.model}, whose final norm and head have other weights "
            "than this model's; fit a lens for it with `stopping lens fit`"
        )


def lens_of(path: Path | None, anatomy: Anatomy) -> AbstractLens:
    """Return the lens of a file, or the raw one; errors are those of `load_lens`."""
    return RawLens(anatomy) if path is None else load_lens(path, anatomy)


def require_lens(path: Path) -> LensFile:
    """Read a lens that was fitted to its end, before any model is loaded for it.

    Raises
    ------
    UserError
        As `read_lens`, or if the lens is unfinished.
    """
    content = read_lens(path)
    if content.report is None:
        raise UserError(f"{path}: this lens is unfinished; run its `stopping lens fit` again")
    return content


def head_hash(anatomy: Anatomy) -> str:
    """SHA-256, in hexadecimal, of the weights of final norm and head, rounded to bfloat16."""
    parts = [(f"tail {i}", module) for i, module in enumerate(anatomy.final_norm)]
    return weights_hash(
        (f"{part} {name}", weight)
        for part, module in [*parts, ("head", anatomy.headless)]
        for name, weight in module.named_parameters()
    )


def weights_hash(weights: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256, in hexadecimal, of named weights, rounded to bfloat16."""
    digest = hashlib.sha256()
    for name, weight in weights:
        if weight.is_meta:
            raise UserError(
                f"lens: the weight {name} is offloaded and cannot be read; "
                "load the model onto a device"
            )
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        for first in range(0, len(weight), _HASHED_ROWS):
            # numpy has no bfloat16: its bits are hashed as integers.
            rows = weight.detach()[first : first + _HASHED_ROWS].to(torch.bfloat16)
            digest.update(rows.contiguous().view(torch.int16).cpu().numpy().tobytes())
    return digest.hexdigest()


def write_lens(path: Path, content: LensFile) -> None:
    """Write a lens file, whole or not at all."""
    text = FORMAT.text({f.name: getattr(content, f.name) for f in fields(About)})
    with written_aside(path) as aside:
        try:
            save_file(_tensors(content.corrections), aside, metadata={"layer-stopping": text})
        except SafetensorError as error:  # what the operating system says, as text
            raise UserError(f"{path}: cannot write here ({error}); name another file") from error


def read_lens(path: Path) -> LensFile:
    """Read a lens file without a model.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another kind or newer than this package.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; fit a lens with `stopping lens fit`")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{path}: not a readable safetensors file (damaged, truncated or of another kind); "
            "fit the lens anew with `stopping lens fit`"
        ) from error
    content = FORMAT.parse(metadata.get("layer-stopping", ""), str(path))
    read = FORMAT.structure(content, About, str(path))
    try:
        corrections = _corrections(tensors)
        for layer, correction in corrections.items():
            _require_sound(layer, correction, read.origin)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{path}: the lens file is incomplete or damaged ({error}); fit the lens anew with "
            "`stopping lens fit`"
        ) from error
    return LensFile(corrections=corrections, **vars(read))


def _tensors(corrections: Mapping[int, Correction]) -> dict[str, Tensor]:
    """Tensors by name, layers as three digits so that their order is that of their names."""
    tensors = {}
    for layer, correction in corrections.items():
        prefix = f"layer.{layer:03d}"
        tensors[f"{prefix}.temperature"] = torch.tensor(correction.temperature, dtype=torch.float64)
        if correction.translation is not None:
            for i, factor in enumerate(correction.translation.factors):
                tensors[f"{prefix}.factor.{i}"] = factor.detach().cpu().contiguous()
            tensors[f"{prefix}.bias"] = correction.translation.bias.detach().cpu().contiguous()
    return tensors


def _corrections(tensors: Mapping[str, Tensor]) -> dict[int, Correction]:
    found = {}
    for layer in sorted({int(name.split(".")[1]) for name in tensors}):
        prefix = f"layer.{layer:03d}"
        factors = [tensors[n] for n in sorted(tensors) if n.startswith(f"{prefix}.factor.")]
        translation = Translation(tuple(factors), tensors[f"{prefix}.bias"]) if factors else None
        found[layer] = Correction(float(tensors[f"{prefix}.temperature"]), translation)
    return found


def _require_sound(layer: int, correction: Correction, origin: Origin) -> None:
    """Raise a ValueError if this cannot be the correction of a layer of such a model."""
    if layer not in origin.layers or not 1 <= layer <= origin.depth:
        raise ValueError(f"layer {layer} is none of those that were fitted")
    if not (math.isfinite(correction.temperature) and correction.temperature > 0):
        raise ValueError(f"layer {layer}: temperature {correction.temperature}")
    if (moved := correction.translation) is None:
        return
    parts = [*moved.factors, moved.bias]
    if not all(part.is_floating_point() and part.isfinite().all() for part in parts):
        raise ValueError(f"layer {layer}: the translation has values that are no finite numbers")
    shapes = [tuple(part.shape) for part in parts]
    width = shapes[-1][0] if len(shapes[-1]) == 1 else 0
    inner = () if origin.rank is None else (shapes[0][-1] if len(shapes[0]) == 2 else 0,)
    sizes = (width, *inner, width)
    # A stream with several lanes is one long vector.
    if width == 0 or width % origin.hidden or shapes[:-1] != list(pairwise(sizes)):
        raise ValueError(
            f"layer {layer}: the translation has shapes {', '.join(map(str, shapes))}, which do "
            f"not fit states of {origin.hidden} numbers"
        )
