"""Seven worlds on a window of `K + 1` layers, one class, nats:

================  ================================================================================
well specified    the fitted model itself
prompt effects    and a level in common to the tokens of a prompt, of which the model knows nothing
faint rises       drift 0.2, rise 0.4, spread 0.3: turning can be seen, but not well
weak rises        drift 0.05, rise 0.1, spread 0.4: turning can hardly be seen
no perturbation   every token turns at the final layer
AR(1) noise       noise of neighbouring layers correlates at 0.8
t3 noise          noise of Student's t with three degrees of freedom, scaled to the same variance
================  ================================================================================
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from stopping.changepoint import ChangePointModel, Component
from stopping.types import FloatArray, IntArray

K = 5
CORRELATION, FREEDOM, SHIFT = 0.8, 3, 0.4


def known(drift: float = 0.4, rise: float = 1.0, spread: float = 0.3) -> ChangePointModel:
    """The world that all others depart from, all layers alike but for where tokens turn."""
    part = Component(
        start_mean=6.0,
        start_sd=0.5,
        drift_mean=np.full(K, drift),
        drift_sd=np.full(K, spread),
        rise_mean=np.full(K, rise),
        rise_sd=np.full(K, spread),
        noise_sd=np.append(np.full(K, 0.3), 0.0),
        turning=np.array([0.05, 0.1, 0.15, 0.15, 0.15, 0.4]),
    )
    return ChangePointModel((part,), np.ones(1))


def unperturbed() -> ChangePointModel:
    """Every token turns at the final layer, which is not to turn."""
    part = known().components[0]
    alone = {name: getattr(part, name) for name in part.__dataclass_fields__}
    return ChangePointModel((Component(**alone | {"turning": np.eye(K + 1)[-1]}),), np.ones(1))


@dataclass(frozen=True)
class World:
    """A truth, the noise that replaces its own (standard deviation one), and a prompt's level.

    `fits` says whether the model is right there.
    """

    model: Callable[[], ChangePointModel]
    fits: bool = True
    noise: Callable[[np.random.Generator, tuple[int, int]], FloatArray] | None = None
    shift: float = 0.0


def autoregressive(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """Stationary AR(1) along the layers."""
    noise = rng.standard_normal(shape)
    for layer in range(1, shape[1]):
        fresh = np.sqrt(1 - CORRELATION**2) * noise[:, layer]
        noise[:, layer] = CORRELATION * noise[:, layer - 1] + fresh
    return noise


def heavy(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """Student's t of variance one."""
    noise: FloatArray = rng.standard_t(FREEDOM, shape) / np.sqrt(FREEDOM / (FREEDOM - 2))
    return noise


WORLDS: Mapping[str, World] = {
    "well specified": World(known),
    "prompt effects": World(known, shift=SHIFT),
    "faint rises": World(partial(known, 0.2, 0.4, 0.3)),
    "weak rises": World(partial(known, 0.05, 0.1, 0.4)),
    "no perturbation": World(unperturbed),
    "AR(1) noise": World(known, fits=False, noise=autoregressive),
    "t3 noise": World(known, fits=False, noise=heavy),
}


def drawn(
    world: World, prompts: int, tokens: int, rng: np.random.Generator
) -> tuple[FloatArray, IntArray]:
    """Draw tokens, shape (n, w), and the prompt of each."""
    prompt = np.repeat(np.arange(prompts), tokens)
    part = world.model().components[0]
    latent, noise, _ = part.sample(rng, len(prompt))
    if world.noise is not None:
        noise = part.noise_sd * world.noise(rng, noise.shape)
    level = world.shift * rng.standard_normal(prompts)
    return latent + noise + level[prompt, None], prompt
