"""Rival decoders against loops written from their papers, row by row and token by token."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from empirical.decoding import ConfidentDecoding
from empirical.decoding.custom import AbstractDecoder
from empirical.decoding.rivals import (
    SLED,
    AbstractRival,
    Calm,
    DoLa,
    ReleasedScore,
    UnnormedLens,
    parse_decoder,
)
from empirical.decoding.rivals.buckets import bucket
from empirical.decoding.rivals.released import scores
from empirical.lenses import AbstractLens, RawLens
from empirical.model.anatomy import Anatomy
from stopping.errors import UserError
from stopping.rules import Search
from tests.empirical.decoding.decoder_models import (
    ARCHITECTURES,
    DEPTH,
    LONG,
    MASK,
    NEW,
    PADDED,
    SHORT,
)

WIDTH, ROWS, WORDS = 5, 6, 23
Row = NDArray[np.float64]
RIVALS: list[AbstractRival] = [
    DoLa(),
    DoLa(layers="high", divergence="released", relative_top=0.3),
    DoLa(layers="all", norm=False),
    SLED(),
    SLED(rate=1.5, scale=4, steps=3, floor=-50.0, norm=False),
    Calm(threshold=0.5, K=4),
    ReleasedScore(K=4),
]


def window(seed: int = 0, width: int = WIDTH) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(width, ROWS, WORDS, generator=generator, dtype=torch.float64)
    # Layers resemble each other, as those of a model do.
    return z + 2 * torch.randn(1, ROWS, WORDS, generator=generator, dtype=torch.float64)


def softmax(z: Row) -> list[float]:
    weights = [math.exp(v - max(z)) for v in z]
    return [w / sum(weights) for w in weights]


def dola(rival: DoLa, z: NDArray[np.float64]) -> Row:
    """One row: `z` (w, vocabulary)."""
    q = softmax(z[-1])
    farthest, premature = -1.0, []
    for layer in z[:-1]:
        p, total = softmax(layer), 0.0
        for a, b in zip(q, p, strict=True):
            m = (a + b) / 2
            if rival.divergence == "js":
                total += (a * math.log(a / m) + b * math.log(b / m)) / 2
            else:
                total += (m * math.log(m / a) + m * math.log(m / b)) / 2
        if total > farthest:
            farthest, premature = total, p
    return np.array(
        [
            math.log(a / b) if a >= rival.relative_top * max(q) else -math.inf
            for a, b in zip(q, premature, strict=True)
        ]
    )


def sled(rival: SLED, z: NDArray[np.float64]) -> Row:
    """One row, with the cosine of whole vectors and every sum over layers and entries."""
    final = z[-1].copy()
    entries = sorted(range(WORDS), key=lambda i: -final[i])[: rival.scale]
    votes = []
    for layer in z[:-1]:
        p, d = np.array(softmax(layer)), layer - final
        c = []
        for i in entries:
            gradient = p - np.eye(WORDS)[i]
            cosine = gradient @ d / (np.linalg.norm(gradient) * np.linalg.norm(d))
            c.append(max(cosine, 0.0) ** 2)
        votes.append(c)
    total = sum(map(sum, votes))
    latent = np.zeros(WORDS)
    for c in votes:
        for i, vote in zip(entries, c, strict=True):
            if sum(c) > 0:
                latent[i] += (sum(c) / total) * (vote / sum(c))
    for step in range(rival.steps):
        rate = rival.rate * (1 - step / rival.steps)
        final -= rate * (np.array(softmax(final)) - latent)
    return np.array([final[i] if i in entries else rival.floor for i in range(WORDS)])


def calm(rival: Calm, z: NDArray[np.float64]) -> Row:
    for layer in z:
        best, second = sorted(softmax(layer))[:-3:-1]
        if best - second > rival.threshold:
            return layer
    return z[-1]


def released(rival: ReleasedScore, z: NDArray[np.float64]) -> Row:
    # As that code writes it: the logarithm is in place, and taken before the product.
    def score(layer: Row) -> float:
        p = torch.tensor(softmax(layer))
        return -float((p * p.log_()).sum())

    at = len(z) - 1
    while at > 0 and score(z[at - 1]) < score(z[at]):
        at -= 1
    return z[at]


REFERENCES: dict[type[AbstractRival], Callable[[Any, NDArray[np.float64]], Row]] = {
    DoLa: dola,
    SLED: sled,
    Calm: calm,
    ReleasedScore: released,
}


@pytest.mark.parametrize("rival", RIVALS, ids=lambda r: r.spec())
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rivals_are_their_papers_loops(rival: AbstractRival, seed: int) -> None:
    z = window(seed)
    found, column = rival.decide(z)
    for row in range(ROWS):
        expected = REFERENCES[type(rival)](rival, z[:, row].numpy())
        np.testing.assert_allclose(found[row].numpy(), expected, rtol=1e-9, atol=1e-9)
        if column is not None:
            assert torch.equal(found[row], z[int(column[row]), row])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (DoLa(), DoLa(divergence="released")),
        (DoLa(relative_top=0.1), DoLa(relative_top=0.5)),
        (SLED(), SLED(steps=1)),
        (SLED(), SLED(scale=9)),
        (Calm(0.5, K=4), Calm(0.4, K=4)),
    ],
    ids=str,
)
def test_the_references_tell_a_wrong_rival(right: AbstractRival, wrong: AbstractRival) -> None:
    """The same comparison rejects a rival that differs in one setting."""
    differs = False
    for seed in range(20):
        z = window(seed)
        found = wrong.decide(z)[0].numpy()
        for row in range(ROWS):
            expected = REFERENCES[type(right)](right, z[:, row].numpy())
            differs |= not np.allclose(found[row], expected, rtol=1e-9, atol=1e-9)
    assert differs


def test_the_published_divergence_is_not_the_papers() -> None:
    """Both take another premature layer on some rows, so they had to be kept apart."""
    differ = 0
    for seed in range(20):
        log_p = window(seed).log_softmax(-1)
        js, other = (
            DoLa(divergence=d).divergences(log_p[-1], log_p[:-1]) for d in ("js", "released")
        )
        assert ((js >= 0) & (js <= math.log(2))).all()
        differ += int((js.argmax(0) != other.argmax(0)).sum())
    assert differ > 0


def test_the_released_score_is_no_entropy() -> None:
    """Fifty random logits: the score is in the thousands below zero, the entropy of order one."""
    z = 4 * torch.randn(1, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = z.softmax(-1)
    assert scores(z).item() < -1000
    assert 0 < -(p * p.log()).sum().item() < math.log(50)


@pytest.mark.parametrize("rival", RIVALS, ids=lambda r: r.spec())
def test_words_that_the_model_excludes_stay_out(rival: AbstractRival) -> None:
    z = window(4)
    z[..., 7] = -math.inf
    found, _ = rival.decide(z)
    assert not found.isnan().any()
    assert (found.argmax(-1) != 7).all()
    rest = torch.cat([z[..., :7], z[..., 8:]], dim=-1)
    alone, _ = rival.decide(rest)
    without = torch.cat([found[..., :7], found[..., 8:]], dim=-1)
    torch.testing.assert_close(without, alone)


@pytest.mark.parametrize(
    ("depth", "tied", "low", "high"),
    [
        (32, False, tuple(range(0, 16, 2)), tuple(range(16, 32, 2))),
        (32, True, tuple(range(2, 16, 2)), tuple(range(16, 32, 2))),
        (80, True, tuple(range(2, 20, 2)), tuple(range(60, 80, 2))),
        (2, True, (1,), (1,)),
        (1, False, (0,), (0,)),
        (4, True, (2,), (2,)),
    ],
)
def test_the_buckets_are_those_of_the_published_code(
    depth: int, tied: bool, low: tuple[int, ...], high: tuple[int, ...]
) -> None:
    assert bucket("low", depth, tied) == low
    assert bucket("high", depth, tied) == high


# From here on inside a model.


def written(model: Any, rival: AbstractDecoder, ids: Tensor, **options: Any) -> Tensor:
    with ConfidentDecoding(model, rival):
        output: Tensor = model.generate(ids, max_new_tokens=NEW, do_sample=False, **options)
    return output[:, ids.shape[1] :]


@pytest.mark.slow
@pytest.mark.parametrize("rival", RIVALS, ids=lambda r: r.spec())
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_row_is_decoded_alike_alone_and_in_a_padded_batch(
    family: str, rival: AbstractRival
) -> None:
    model = ARCHITECTURES[family].build()
    together = written(model, rival, PADDED, attention_mask=MASK)
    assert torch.equal(together[:1], written(model, rival, LONG))
    assert torch.equal(together[1:], written(model, rival, SHORT))


@pytest.mark.slow
@pytest.mark.parametrize("rival", RIVALS, ids=lambda r: r.spec())
def test_generation_is_a_loop_without_a_cache(rival: AbstractRival) -> None:
    """Plain forward passes, hidden states of transformers, and the reference decoder."""
    model = ARCHITECTURES["llama"].build()
    layers = rival.window(DEPTH, tied=False)
    norm = getattr(rival, "norm", True)
    ids = LONG
    for _ in range(NEW):
        states: list[Tensor] = []
        hooks = [
            layer.register_forward_hook(lambda m, a, out, to=states: to.append(out[0, -1]))
            for layer in model.model.layers
        ]
        with torch.no_grad():
            output = model(ids)
            embedded = model.model.embed_tokens(ids)[0, -1]
        for hook in hooks:
            hook.remove()
        states.insert(0, embedded)
        with torch.no_grad():
            z = torch.stack(
                [
                    model.lm_head(model.model.norm(states[i]) if norm else states[i])
                    for i in layers[:-1]
                ]
                + [output.logits[0, -1]]
            )
        chosen = rival.decide(z[:, None])[0][0]
        ids = torch.cat([ids, chosen.argmax()[None, None]], dim=1)
    assert torch.equal(written(model, rival, LONG), ids[:, LONG.shape[1] :])


def test_rivals_change_the_text_and_the_statistics_say_so() -> None:
    model = ARCHITECTURES["llama"].build()
    for rival in (DoLa(layers="all"), SLED(rate=5.0), ReleasedScore(K=4)):
        with ConfidentDecoding(model, rival) as decoding:
            output = model.generate(LONG, max_new_tokens=NEW, do_sample=False)
        steps = decoding.statistics
        assert torch.equal(output[0, LONG.shape[1] :], torch.from_numpy(steps.token[0]).long())
        assert steps.substituted.any()
        contrast = isinstance(rival, (DoLa, SLED))
        assert steps.moved.any() != contrast
        assert np.isfinite(steps.entropy).all()


def test_without_the_norm_is_another_reading() -> None:
    model = ARCHITECTURES["llama"].build()
    anatomy = Anatomy.of(model)
    h = torch.randn(1, 3, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    raw, bare = RawLens(anatomy), UnnormedLens(anatomy)
    with torch.no_grad():
        assert torch.equal(bare.read(DEPTH, h), raw.read(DEPTH, h))
        assert torch.equal(bare.read(2, h), model.lm_head(h))
        assert not torch.allclose(bare.read(2, h), raw.read(2, h))
    texts = [written(model, DoLa(layers="all", norm=norm), LONG) for norm in (True, False)]
    assert not torch.equal(*texts)


@pytest.mark.parametrize("rival", RIVALS, ids=lambda r: r.spec())
def test_specs_are_read_back(rival: AbstractRival) -> None:
    assert parse_decoder(rival.spec()) == rival
    assert rival.name


def test_parsing() -> None:
    assert parse_decoder("search:K=3", p=0.5) == Search(3, 0.5)
    assert parse_decoder("dola:layers=high", norm=False) == DoLa(layers="high", norm=False)
    assert parse_decoder("sled:norm=off") == replace(SLED(), norm=False)
    for text, entries in [
        ("dora", "unknown kind 'dora'; choose from .*search.*dola"),
        ("dola:norm=perhaps", "norm is on or off, got 'perhaps'"),
        ("dola:layers=middle", "no such bucket; choose from low, high, all"),
        ("dola:divergence=kl", "choose from js, released"),
        ("dola:relative_top=0", r"relative_top must be in \(0, 1\]"),
        ("sled:scale=ten", "scale needs a number, got 'ten'"),
        ("sled:scale=0", "at least 1"),
        ("sled:rate=nan", "rate must be positive"),
        ("calm:threshold=2", r"threshold must be in \[0, 1\]"),
        ("calm:K=-1", "K must be >= 0"),
        ("released-score:K=-1", "K must be >= 0"),
    ]:
        with pytest.raises(UserError, match=entries):
            parse_decoder(text)
    with pytest.raises(UserError, match="no setting p; it belongs to search"):
        parse_decoder("dola", p=0.5)
    with pytest.raises(UserError, match="no setting norm; it belongs to dola, sled"):
        parse_decoder("search", norm=False)


def test_mistakes_inside_a_model() -> None:
    model = ARCHITECTURES["llama"].build()

    class Other(AbstractLens):
        @property
        def name(self) -> str:
            return "calibrated"

        def read(self, layer: int, h: Tensor) -> Tensor:
            raise AssertionError

    with pytest.raises(UserError, match="takes no lens"):
        ConfidentDecoding(model, DoLa(), Other())
    decoding = ConfidentDecoding(model, DoLa())
    model.lm_head.weight.data[3] = math.nan
    with decoding, pytest.raises(UserError, match="NaN"):
        model(LONG)
