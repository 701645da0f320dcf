"""The GPU kernels in Triton's interpreter; run by `make test-processors`.

The interpreter must be chosen before Triton is imported, so these checks have a process of their
own.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.gpu.head_kernel import Chosen, HeadKernel
from empirical.decoding import ConfidentDecoding
from empirical.decoding.plan import ALL_AT_ONCE, Plan
from empirical.logits.kernels.capability import available, largest_error
from empirical.logits.kernels.fused import project_rows
from empirical.logits.sums import merged, sums_of
from stopping.errors import UserError
from stopping.rules import Search, Tolerance
from tests.empirical.decoding.decoder_models import ARCHITECTURES, GREEDY, MASK, PADDED, K

WORDS, HIDDEN, BATCH, WINDOW = 330, 80, 5, 6
CLOSE = 5e-6


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def inputs(seed: int = 0, entries: int = WORDS, batch: int = BATCH) -> tuple[Tensor, Tensor]:
    """Weights, and states that wander from candidate to candidate."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(entries, HIDDEN, generator=generator) / 3
    steps = torch.randn(WINDOW, batch, HIDDEN, generator=generator) / 3
    start = torch.randn(1, batch, HIDDEN, generator=generator)
    return weight, start + steps.cumsum(0)


def exact(weight: Tensor, x: Tensor, **settings: Any) -> Tensor:
    """Logits in double precision, (window, batch, entries), by definition."""
    z = x.double() @ weight[: settings.get("entries") or len(weight)].double().T
    if settings.get("bias") is not None:
        z = z + settings["bias"].double()
    z = z * settings.get("before", 1.0)
    if settings.get("cap"):
        z = settings["cap"] * torch.tanh(z / settings["cap"])
    if settings.get("after") is not None:
        z = z * settings["after"].double()[:, None, None]
    if settings.get("mask") is not None:
        z = z.masked_fill(settings["mask"], -torch.inf)
    return z


def entropies(z: Tensor) -> np.ndarray[Any, Any]:
    """From (window, batch, entries) to (batch, window), `L` first."""
    return np.asarray(torch.special.entr(z.softmax(-1)).sum(-1).T)


def kernel(weight: Tensor, **settings: Any) -> HeadKernel:
    given = {"batch": BATCH, "window": WINDOW, "blocks": 3, **settings}
    return HeadKernel(weight, **given)


def check(chosen: Chosen, z: Tensor, rule: Any = None, close: float = CLOSE) -> None:
    """Entropies, choice and logits against double precision."""
    h = entropies(z)
    assert np.abs(chosen.entropy.numpy() - h).max() < close
    expected = WINDOW - 1 - (rule or Search(WINDOW - 1)).choose(h[:, ::-1])
    clear = (np.abs(np.diff(h, axis=1)) > 1e-4).all(axis=1)
    assert clear.any()
    assert np.array_equal(chosen.column.numpy()[clear], expected[clear])
    assert np.array_equal(chosen.top1, z.argmax(-1).T)
    for row, column in enumerate(chosen.column.tolist()):
        assert chosen.token[row] == z[column, row].argmax()
        assert chosen.logits is not None
        found, own = chosen.logits[row].double(), z[column, row]
        assert torch.equal(found.isinf(), own.isinf())
        finite = own.isfinite()
        scale = max(1.0, float(own[finite].abs().max()))
        assert (found[finite] - own[finite]).abs().max() < 1e-5 * scale


SETTINGS: dict[str, dict[str, Any]] = {
    "random": {},
    "capped": {"cap": 2.0},
    "scaled": {"before": 0.25},
    "temperatures": {"after": torch.linspace(0.7, 1.3, WINDOW)},
    "masked": {"mask": torch.arange(WORDS) % 3 == 0},
    "all at once": {"cap": 3.0, "before": 1.5, "after": torch.linspace(0.7, 1.3, WINDOW),
                    "mask": torch.arange(WORDS) % 5 == 1, "bias": torch.linspace(-1, 1, WORDS)},
    "first tile masked": {"mask": torch.arange(WORDS) < 150},
}  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_every_kind_of_head(settings: dict[str, Any]) -> None:
    weight, x = inputs()
    found = kernel(weight, **settings).step(x)
    z = exact(weight, x, **settings)
    check(found, z)
    assert (found.column > 0).sum() > 0


@pytest.mark.parametrize("kind", ["peaked", "flat", "shifted up", "shifted down"])
def test_hard_logits(kind: str) -> None:
    weight, x = inputs(1)
    settings: dict[str, Any] = {}
    if kind == "peaked":
        x = 40 * x
    elif kind == "flat":
        x = 1e-3 * x
    else:
        # A bias of all entries alike changes no entropy.
        settings["bias"] = torch.full((WORDS,), 500.0 if kind == "shifted up" else -500.0)
    h = entropies(exact(weight, x, **settings))
    found = kernel(weight, **settings).step(x).entropy.numpy()
    # At 500 a logit in single precision is off by 3e-5, at 40 x 5 by 1e-5.
    close = {"peaked": 5e-5, "flat": CLOSE}.get(kind, 5e-5)
    assert np.abs(found - h).max() < close
    if kind == "peaked":
        assert h.min() < 0.1


def test_padded_rows_of_the_weights_are_no_words() -> None:
    weight, x = inputs(2)
    padded = torch.cat([weight, torch.zeros(54, HIDDEN)])
    check(kernel(padded, entries=WORDS).step(x), exact(weight, x))
    # Negative control: counted as zeros they move entropies by far.
    wrong = kernel(padded).step(x).entropy.numpy()
    assert np.abs(wrong - entropies(exact(weight, x))).max() > 0.01


@pytest.mark.parametrize("dtype", [torch.float16])
def test_half_precision_is_summed_before_it_is_rounded(dtype: torch.dtype) -> None:
    weight, x = (value.to(dtype) for value in inputs(3))
    found = kernel(weight).step(x)
    z = exact(weight, x)
    assert found.logits is not None
    assert found.logits.dtype == dtype
    assert np.abs(found.entropy.numpy() - entropies(z)).max() < CLOSE
    rounded = entropies(z.to(dtype).double())
    assert np.abs(rounded - entropies(z)).max() > 10 * CLOSE


@pytest.mark.parametrize(("batch", "first"), [(1, 2), (BATCH, 1), (BATCH, 4), (17, 2)])
def test_two_rounds_choose_as_one(batch: int, first: int) -> None:
    weight, x = inputs(4, batch=batch)
    whole = kernel(weight, batch=batch).step(x)
    parts = kernel(weight, batch=batch, first=first)
    # What an earlier step has left in the buffers does not matter: asked where it costs little.
    for _ in range(2 if batch <= BATCH else 1):
        found = parts.step(x)
        assert torch.equal(found.column, whole.column)
        assert torch.equal(found.token, whole.token)
        torch.testing.assert_close(found.logits, whole.logits)
        read = ~found.entropy.isnan()
        torch.testing.assert_close(found.entropy[read], whole.entropy[read], atol=1e-6, rtol=0)
        # All read the first ones; the rest is for the rows that stepped back each time.
        goes_on = whole.column.numpy() >= first - 1
        falls = np.diff(whole.entropy[:, :first].numpy(), axis=1) < 0
        assert np.array_equal(read[:, first:].all(1).numpy(), goes_on & falls.all(1))
        if batch <= BATCH:
            parts.step(x.flip(0))
    if batch > 16:  # two blocks of rows
        assert 0 < read[:, first:].all(1).sum() < batch


def test_rows_that_are_not_searched_and_a_tolerance() -> None:
    weight, x = inputs(5)
    scans = torch.tensor([1, 0, 1, 0, 1], dtype=torch.int32)
    free, z = kernel(weight).step(x).column.clone(), exact(weight, x)
    for first in (None, 2):
        found = kernel(weight, first=first).step(x, scans)
        assert torch.equal(found.column, free * scans)
        for row in (1, 3):
            assert found.token[row] == z[0, row].argmax()
            assert found.logits is not None
            torch.testing.assert_close(found.logits[row].double(), z[0, row], atol=1e-5, rtol=0)
    check(kernel(weight, tau=0.05).step(x), z, Tolerance(0.05, WINDOW - 1))


def test_without_logits_the_word_is_enough() -> None:
    weight, x = inputs(6)
    kept, bare = kernel(weight), kernel(weight, store=False)
    found = bare.step(x)
    assert found.logits is None
    assert torch.equal(found.token, kept.step(x).token)
    assert bare.bytes_held < kept.bytes_held / 5


def test_the_same_inputs_give_the_same_bits_and_blocks_hardly_matter() -> None:
    weight, x = inputs(7)
    once = kernel(weight).step(x).entropy.clone()
    assert torch.equal(kernel(weight).step(x).entropy, once)
    for blocks in (1, 2, 40):
        other = kernel(weight, blocks=blocks).step(x)
        torch.testing.assert_close(other.entropy, once, atol=1e-6, rtol=0)
        check(other, exact(weight, x))


def test_partials_are_the_sums_of_the_shards() -> None:
    """One block for each tile: its partial is that of a tensor-parallel shard."""
    weight, x = inputs(8)
    flat = x.flatten(0, 1)
    z, sums = project_rows(weight, flat, blocks=3)
    shards = [sums_of(z[:, i : i + 128], i) for i in range(0, WORDS, 128)]
    whole = merged(shards)
    torch.testing.assert_close(sums.entropy, whole.entropy, atol=1e-6, rtol=0)
    assert torch.equal(sums.top1, whole.top1)
    assert torch.equal(sums.m, whole.m)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the interpreter's numpy
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_numbers_that_are_none_are_seen_in_their_row_alone(bad: float) -> None:
    weight, x = inputs(9)
    expected = kernel(weight).step(x)
    whole = expected.entropy.clone(), expected.column.clone()
    x[2, 3, 5] = bad
    found = kernel(weight).step(x)
    assert found.entropy[3, 2].isnan()
    others = torch.arange(BATCH) != 3
    assert torch.equal(found.entropy[others], whole[0][others])
    assert torch.equal(found.column[others], whole[1][others])


def test_ties_go_to_the_lowest_word_and_stop_the_search() -> None:
    weight, x = inputs(10)
    weight[250:260] = weight[3] = 9 * x[0, 0] / x[0, 0].norm()
    same = x[:1].expand(WINDOW, -1, -1).contiguous()
    found = kernel(weight).step(same)
    assert found.column.tolist() == [0] * BATCH
    assert found.token[0] == 3


@pytest.mark.parametrize(
    "bad",
    [{"batch": 0}, {"first": 0}, {"first": WINDOW + 1}, {"entries": WORDS + 1}],
    ids=str,
)
def test_shapes_that_do_not_fit(bad: dict[str, Any]) -> None:
    weight, x = inputs()
    with pytest.raises(UserError, match="kernel: batch >= 1"):
        kernel(weight, **bad)
    with pytest.raises(UserError, match="expected"):
        kernel(weight).step(x[:-1])
    with pytest.raises(UserError, match="contiguous"):
        kernel(weight.T)


def test_capability_is_tried_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert largest_error(torch.device("cpu"), torch.float32, blocks=3) < CLOSE
    assert not available(torch.device("cpu"), torch.float32)

    def broken(*args: Any) -> Any:
        raise RuntimeError("no compiler")

    monkeypatch.setattr("empirical.logits.kernels.capability.largest_error", broken)
    assert not available(torch.device("cuda"), torch.bfloat16)
    monkeypatch.setattr("empirical.logits.kernels.capability.largest_error", lambda *args: 1e-3)
    assert not available(torch.device("cuda", 1), torch.bfloat16)
    monkeypatch.setattr("empirical.logits.kernels.capability.largest_error", lambda *args: 1e-7)
    assert available(torch.device("cuda", 2), torch.bfloat16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("plan", [ALL_AT_ONCE, Plan.free(4)], ids=["all", "few"])
def test_the_decoder_with_the_kernel_decodes_the_same(dtype: torch.dtype, plan: Plan) -> None:
    model = ARCHITECTURES["llama"].build(dtype)
    results = []
    for with_kernel in (False, True):
        decoding = ConfidentDecoding(model, Search(K), plan=plan)
        projector = decoding._piggybacks_on
        assert projector is not None
        if with_kernel:
            projector._kernel = lambda weight, x: project_rows(weight, x, 3)
        with decoding:
            output = model.generate(PADDED, attention_mask=MASK, **GREEDY)
        results.append((output, decoding.statistics))
    (plain, expected), (output, steps) = results
    assert torch.equal(output, plain)
    assert np.array_equal(steps.layer, expected.layer)
    assert np.array_equal(steps.projections, expected.projections)
    np.testing.assert_allclose(steps.entropy, expected.entropy, atol=1e-5)
    assert steps.moved.any()
