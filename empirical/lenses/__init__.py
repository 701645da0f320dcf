"""Lenses: how a residual state is turned into next-token logits (needs the extra `models`).

`RawLens` is the model's own final norm and head; `fit_lens` fits a correction per layer on held-out
prompts, `load_lens` reads it from its file, and capture, audit and decoder take either.
"""

from empirical.lenses.base import AbstractLens, RawLens
from empirical.lenses.calibrated import CalibratedLens, Correction, Translation
from empirical.lenses.files import (
    LensFile,
    Origin,
    head_hash,
    lens_of,
    load_lens,
    read_lens,
    require_lens,
    weights_hash,
    write_lens,
)
from empirical.lenses.fit import fit_lens

__all__ = [
    "AbstractLens",
    "CalibratedLens",
    "Correction",
    "LensFile",
    "Origin",
    "RawLens",
    "Translation",
    "fit_lens",
    "head_hash",
    "lens_of",
    "load_lens",
    "read_lens",
    "require_lens",
    "weights_hash",
    "write_lens",
]
