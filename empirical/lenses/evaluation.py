"""What a lens does on prompts that had no part in fitting it: before and after, by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from empirical.analysis.audit.calibration import MATERIALITY
from empirical.analysis.audit.given_reading import audit_given_reading
from empirical.analysis.projection_noise import MeasuredNoise, noise_between
from empirical.intervals import Ratio, mean, prompt_intervals
from empirical.lenses.calibrated import Correction
from empirical.lenses.states import States, finite_logits
from empirical.logits.readout import read_logits
from empirical.model.anatomy import Anatomy
from empirical.traces.schema import Traces
from empirical.traces.window import take_sample
from stopping.support.statistics import Interval

_REPLICATES = 1000


@dataclass(frozen=True)
class Quality:
    """Means over test tokens at one layer, nats, 95 % intervals over prompts.

    Attributes
    ----------
    log_loss, entropy : Interval
        Of the reference tokens, and of the lens distribution.
    gap : Interval
        Log-loss minus entropy: A0 says 0, over-confidence is positive.
    divergence : Interval
        KL divergence of the lens distribution from the final layer's own.
    accuracy : Interval
        Share of tokens whose most probable token is the reference.
    """

    log_loss: Interval
    entropy: Interval
    gap: Interval
    divergence: Interval
    accuracy: Interval


@dataclass(frozen=True)
class LayerReport:
    """One layer read through the raw lens and through the fitted one.

    Attributes
    ----------
    temperature : float
        Above 1 the raw lens was over-confident.
    epoch : int or None
        Epoch of training whose translation was kept, 0 for its start; None without translation.
    """

    layer: int
    temperature: float
    epoch: int | None
    raw: Quality
    fitted: Quality


@dataclass(frozen=True)
class LensReport:
    """All layers of a lens, and the projection noise of the raw lens that it measures.

    Attributes
    ----------
    raw_kappa, fitted_kappa : Interval or None
        Calibration given the reading, the premise of C2 (`empirical.analysis.audit`), through both
        lenses; None where there are too few prompts.
    """

    tokens: int
    prompts: int
    layers: tuple[LayerReport, ...]
    noise: MeasuredNoise
    raw_kappa: Interval | None = None
    fitted_kappa: Interval | None = None


def evaluate(
    anatomy: Anatomy,
    corrections: Mapping[int, Correction],
    epochs: Mapping[int, int | None],
    test: States,
    lens: str,
    seed: int,
    depth: int,
) -> LensReport:
    """Read the test tokens through the raw and the fitted lens; `depth` is the final layer's."""
    as_it_is = Correction()
    every = [*corrections, *({depth} - corrections.keys())]
    lenses = {
        "raw": dict.fromkeys(every, as_it_is),
        "fitted": {layer: corrections.get(layer, as_it_is) for layer in every},
    }
    evaluated = read_lenses(anatomy, lenses, test)
    ratios: dict[str, Ratio] = {
        f"{name} {layer} {key}": mean(values)
        for (name, layer), columns in evaluated.items()
        for key, values in columns.items()
    }
    found = prompt_intervals(ratios, test.prompt, seed, _REPLICATES)

    def quality(name: str, layer: int) -> Quality:
        return Quality(**{f.name: found[f"{name} {layer} {f.name}"] for f in fields(Quality)})

    return LensReport(
        tokens=len(test),
        prompts=len(np.unique(test.prompt)),
        layers=tuple(
            LayerReport(
                layer,
                correction.temperature,
                epochs[layer],
                quality("raw", layer),
                quality("fitted", layer),
            )
            for layer, correction in corrections.items()
        ),
        raw_kappa=_kappa(evaluated, "raw", every, test.prompt, seed),
        fitted_kappa=_kappa(evaluated, "fitted", every, test.prompt, seed),
        noise=noise_between(
            np.column_stack([evaluated["raw", layer]["entropy"] for layer in corrections]),
            np.column_stack([evaluated["fitted", layer]["entropy"] for layer in corrections]),
            test.prompt,
            list(corrections),
            lens,
            seed,
        ),
    )


def _kappa(
    evaluated: Mapping[tuple[str, int], Mapping[str, NDArray[np.float64]]],
    name: str,
    layers: Sequence[int],
    prompt: NDArray[np.int32],
    seed: int,
) -> Interval | None:
    """Calibration given the reading, of one lens."""
    if len(layers) < 2 or len(np.unique(prompt)) < 2:
        return None

    def column(key: str) -> NDArray[np.float64]:
        return np.column_stack([evaluated[name, layer][key] for layer in sorted(layers)])

    traces = Traces.of(column("entropy"), log_prob=-column("log_loss"), prompt=prompt)
    sample = take_sample(traces, len(layers) - 1, seed, _REPLICATES)
    kappa = audit_given_reading(sample, MATERIALITY).kappa
    return None if np.isnan([kappa.estimate, kappa.low, kappa.high]).any() else kappa


def read_lenses(
    anatomy: Anatomy,
    lenses: Mapping[str, Mapping[int, Correction]],
    test: States,
) -> dict[tuple[str, int], dict[str, NDArray[np.float64]]]:
    """Columns over tokens, by lens and layer.

    They are named as in `Quality`; `expected` is the log-loss to be expected if tokens are drawn
    from the final layer's own distribution.
    """
    rows: dict[tuple[str, int], list[Tensor]] = {
        (name, layer): [] for name, corrections in lenses.items() for layer in corrections
    }
    with torch.inference_mode():
        for part in test.chunks(anatomy.vocabulary_size):
            final = anatomy.lens(part.final[None])
            final_entropy = read_logits(final[0], part.token).entropy
            weights = finite_logits(final).softmax(1)
            for (name, layer), found in rows.items():
                logits = lenses[name][layer].read(anatomy, part.layers[layer][None])
                own, z = read_logits(logits[0], part.token), finite_logits(logits)
                expected = z.logsumexp(1) - torch.linalg.vecdot(weights, z)
                divergence = expected - final_entropy
                right = (own.top1 == part.token).float()
                found.append(torch.stack([-own.log_prob, own.entropy, divergence, right, expected]))
    columns = {}
    for key, parts in rows.items():
        log_loss, entropy, divergence, right, expected = torch.cat(parts, 1).double().cpu().numpy()
        columns[key] = {
            "log_loss": log_loss,
            "entropy": entropy,
            "gap": log_loss - entropy,
            "divergence": divergence,
            "accuracy": right,
            "expected": expected,
        }
    return columns
