"""Small change-point models with all that varies: two classes, both scales, layer types."""

from dataclasses import replace

import numpy as np

from stopping.changepoint import ChangePointModel, Component, Scale

NATS, LOG, SOFTPLUS = Scale(), Scale(0.05), Scale(0.02, 0.7)


def component(w: int = 5, level: float = 2.0, spread: float = 1.0) -> Component:
    """Every layer different, every spread times `spread`."""
    layer = np.arange(w)
    turning = np.where(layer >= w - 3, 1.0 + layer, 0.0)
    return Component(
        start_mean=level,
        start_sd=0.5 * spread,
        drift_mean=0.3 - 0.03 * layer[1:],
        drift_sd=spread * (0.1 + 0.02 * layer[1:]),
        rise_mean=0.6 + 0.05 * layer[1:],
        rise_sd=spread * np.full(w - 1, 0.15),
        noise_sd=spread * (0.2 - 0.02 * layer),
        turning=turning / turning.sum(),
    )


def one_class(w: int = 5) -> ChangePointModel:
    return ChangePointModel((component(w),), np.array([1.0]))


def two_classes(scale: Scale = NATS, w: int = 5) -> ChangePointModel:
    """A confident and an uncertain class on that scale."""
    levels = (0.5, 2.5) if scale == NATS else (-1.0, 0.5)
    classes = (component(w, levels[0], 0.4), component(w, levels[1]))
    return ChangePointModel(classes, np.array([0.35, 0.65]), scale)


def with_types(model: ChangePointModel) -> ChangePointModel:
    """Layers of two types in turn, with a jump between them."""
    types = np.arange(model.w) % 2
    jumped = tuple(replace(c, types=types, jump_sd=np.array([0.3])) for c in model.components)
    return replace(model, components=jumped)
