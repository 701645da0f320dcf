"""Lenses: how a residual state is turned into next-token logits (needs the extra `models`)."""

from empirical.lenses.base import AbstractLens, RawLens

__all__ = ["AbstractLens", "RawLens"]
