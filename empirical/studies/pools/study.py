"""Every pool on tokens of prompts that trained none of them, beside hindsight.

What a trained predictor gains over the final layer need not come from earlier layers: it may be the
final layer's temperature, or the wording of the text that it was trained on. So each has a baseline
that is the same thing without the earlier layers. Of a pool with global weights it is the final
layer at its own temperature; of one with weights from the entropies, the final layer at a
temperature from its own entropy; of a correction, the same correction from the final state alone.
`earlier` is the difference.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from empirical.intervals import bonferroni, mean, prompt_intervals
from empirical.lenses.fit import Sample
from empirical.lenses.states import spans
from empirical.lenses.training import Tell
from empirical.model.anatomy import Anatomy
from empirical.studies.pools.data import Head, Said, Tokens, listen, temperatures
from empirical.studies.pools.inputs import Predictor, Seen, correction_of, pool_of, train
from empirical.studies.pools.linear import LinearPool, Standard, fit_gated, fit_global
from empirical.studies.pools.results import (
    ALL,
    ALONE,
    BASELINES,
    FINAL,
    GATED,
    HINDSIGHT,
    LINEAR,
    LOG_GATED,
    LOG_LINEAR,
    OWN,
    READ,
    Pools,
    Row,
    Settings,
)
from stopping.types import BoolArray, FloatArray, IntArray

_REPLICATES = 2000


@dataclass(frozen=True, eq=False)
class Parts:
    """Training, validation and test tokens."""

    train: Tokens
    validation: Tokens
    test: Tokens

    @classmethod
    def of(cls, anatomy: Anatomy, sample: Sample) -> "Parts":
        """Norm the states of a sample."""
        parts = (sample.train, sample.validation, sample.test)
        return cls(*(Tokens.of(anatomy, part) for part in parts))


@dataclass(frozen=True, eq=False)
class _Outcome:
    loss: FloatArray
    right: FloatArray


def pool(
    head: Head,
    parts: Parts,
    settings: Settings,
    *,
    model: str = "own states",
    layers: Sequence[int] = (),
    clusters: Mapping[int, str] | None = None,
    tell: Tell = lambda text: None,
    advance: Callable[[], None] = lambda: None,
) -> Pools:
    """Fit every pool and measure it on the test tokens.

    Parameters
    ----------
    layers
        Numbers of the layers, the final one last; default: 1, 2, ...
    clusters
        What each prompt has in common with others; default: prompts are independent.
    """
    tell("what each layer says")
    temperature = temperatures(head, parts.train, settings.seed)
    said = [listen(head, part, temperature) for part in (parts.train, parts.validation, parts.test)]
    advance()
    outcomes = _layers(said[2]) | _linear(head, parts, said, temperature)
    advance()
    outcomes |= _trained(head, parts, said, temperature, settings, tell, advance)
    test = parts.test
    names = [(clusters or {}).get(int(prompt), f"prompt {prompt}") for prompt in test.prompt]
    found = np.unique(np.array(names), return_inverse=True)[1].ravel()
    numbers = tuple(layers) or tuple(range(1, test.x.shape[1] + 1))
    return Pools(
        model=model,
        layers=numbers,
        temperature=tuple(temperature.tolist()),
        settings=settings,
        training=len(parts.train),
        validation=len(parts.validation),
        tokens=len(test),
        prompts=len(np.unique(test.prompt)),
        clusters=int(found.max()) + 1,
        rows=_rows(outcomes, found, settings.seed),
    )


def _layers(said: Said) -> dict[str, _Outcome]:
    """Hindsight, and the final layer at its own temperature."""
    loss, right = -said.log_prob, said.right
    return {
        OWN: _Outcome(loss[:, -1], right[:, -1].astype(float)),
        HINDSIGHT: _Outcome(loss.min(axis=1), right.any(axis=1).astype(float)),
    }


def _linear(
    head: Head, parts: Parts, said: Sequence[Said], temperature: Tensor
) -> dict[str, _Outcome]:
    train, validation, test = said
    standard = Standard.of(train.entropy)
    features = standard(test.entropy)
    pools = {LINEAR: fit_global(train), GATED: fit_gated(train, validation, standard)}
    seen = {LINEAR: features[:, :0], GATED: features}
    found = {}
    for name, fitted in pools.items():
        right = _right(head, parts.test, temperature, fitted, seen[name])
        loss = fitted.log_loss(test.log_prob, seen[name])
        found[name] = _Outcome(loss, right.astype(float))
    return found


def _right(
    head: Head, tokens: Tokens, temperature: Tensor, pool: LinearPool, features: FloatArray
) -> BoolArray:
    """Whether a linear pool's most probable token is the reference, (n,)."""
    weight = torch.from_numpy(np.exp(pool.log_weights(features))).float().to(tokens.x.device)
    right = []
    with torch.no_grad():
        for start, stop in spans(len(tokens), len(head.weight)):
            mixed: Tensor | float = 0.0
            for layer, t in enumerate(temperature.tolist()):
                p = (head.logits(tokens.x[start:stop, layer]) / t).softmax(1)
                mixed = mixed + weight[start:stop, layer, None] * p
            assert isinstance(mixed, Tensor)
            right.append(mixed.argmax(1) == tokens.token[start:stop])
    found: BoolArray = torch.cat(right).cpu().numpy()
    return found


def _trained(
    head: Head,
    parts: Parts,
    said: Sequence[Said],
    temperature: Tensor,
    settings: Settings,
    tell: Tell,
    advance: Callable[[], None],
) -> dict[str, _Outcome]:
    standard = Standard.of(said[0].entropy)

    def seen(tokens: Tokens, heard: Said) -> Seen:
        return Seen(tokens, torch.from_numpy(standard(heard.entropy)).float().to(tokens.x.device))

    sets = parts.train, parts.validation, parts.test
    training, validation, test = (seen(t, s) for t, s in zip(sets, said, strict=True))
    layers = len(temperature)
    own = torch.zeros(layers)
    own[-1] = 1 / temperature[-1]
    generator = torch.Generator().manual_seed(settings.seed)

    def correction(first: int) -> Predictor:
        own_temperature = float(temperature[-1])
        return correction_of(parts.train, own_temperature, settings.rank, first, generator)

    starts = {
        READ: pool_of(own, 1, first=layers - 1),
        LOG_LINEAR: pool_of(own, 0),
        LOG_GATED: pool_of(own, layers),
        ALONE: correction(layers - 1),
        ALL: correction(0),
    }
    plain = Predictor(lambda weights, some: some.tokens.x[:, -1], (), 0.0)
    found = {FINAL: _outcome(head, plain, test)}
    for name, start in starts.items():

        def say(text: str, name: str = name) -> None:
            tell(f"{name}: {text}")

        say("training")
        fitted = train(head, start, training, validation, settings.epochs, generator, say)
        found[name] = _outcome(head, fitted, test)
        advance()
    return found


def _outcome(head: Head, predictor: Predictor, test: Seen) -> _Outcome:
    loss = predictor.loss(head, test).double().cpu().numpy()
    right = predictor.top1(head, test) == test.tokens.token
    return _Outcome(loss, right.double().cpu().numpy())


def _rows(outcomes: Mapping[str, _Outcome], clusters: IntArray, seed: int) -> tuple[Row, ...]:
    order = (FINAL, OWN, LINEAR, LOG_LINEAR, READ, GATED, LOG_GATED, ALONE, ALL, HINDSIGHT)
    own, level = outcomes[OWN], bonferroni(len(BASELINES))
    ratios = {}
    for name in order:
        here = outcomes[name]
        ratios[f"log_loss {name}"] = mean(here.loss)
        ratios[f"accuracy {name}"] = mean(here.right)
        ratios[f"log_loss_vs_own {name}"] = mean(here.loss - own.loss)
        ratios[f"accuracy_vs_own {name}"] = mean(here.right - own.right)
        if name in BASELINES:
            difference = here.loss - outcomes[BASELINES[name]].loss
            ratios[f"earlier {name}"] = mean(difference, level=level)
    found = prompt_intervals(ratios, clusters, seed, _REPLICATES)
    return tuple(
        Row(
            name,
            log_loss=found[f"log_loss {name}"],
            accuracy=found[f"accuracy {name}"],
            log_loss_vs_own=found[f"log_loss_vs_own {name}"],
            accuracy_vs_own=found[f"accuracy_vs_own {name}"],
            earlier=found.get(f"earlier {name}"),
        )
        for name in order
    )
