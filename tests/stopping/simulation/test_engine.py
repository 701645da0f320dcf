"""The fast simulator: the rules' choices, the exact distribution, the same bits for any workers."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopping.errors import UserError
from stopping.model.noise import GaussianNoise, UniformNoise
from stopping.model.process import Process
from stopping.rules import (
    AbstractRule,
    Final,
    ForwardExit,
    Hedged,
    Search,
    Shifted,
    Tolerance,
    zoo,
)
from stopping.simulation.engine import RuleStatistics, Simulation, count_blocks, simulate
from stopping.simulation.engine.model import Model, Sampler
from stopping.simulation.engine.plans import plan
from stopping.simulation.engine.results import Tally
from stopping.simulation.engine.scans import Scanner
from stopping.simulation.engine.simulate import BLOCK, block_tally, pieces
from stopping.support.parallel import Workers
from stopping.theory.exact import stopping_distribution

UNIFORM = Process(
    14, UniformNoise(0.4), K=10, drift=0.15, rise=0.2, rise_excess=0.3, perturbed=0.6, start=1.6
)
GAUSSIAN = replace(UNIFORM, noise=GaussianNoise(0.3))
FIXED = replace(UNIFORM, rise_excess=0.0)
CASES = {"uniform": UNIFORM, "Gaussian": GAUSSIAN, "fixed rises": FIXED}
N = 400_000
HIGH = 1.47
Z = 4.9
"""A two-sided level of 1e-6 for each comparison: some two hundred are made."""


def choices(rule: AbstractRule, x: np.ndarray) -> tuple[np.ndarray, float]:
    """What the engine chooses for values `(n, layers)`, and how many projections it counts."""
    layers = x.shape[1]
    its = plan(rule, layers)
    scanner = Scanner(layers, len(x))
    scanner.begin(np.ascontiguousarray(x.T[::-1]), 0.0)
    depths = scanner.depths(its.scan)
    depth = np.zeros(len(x), dtype=np.uint8)
    depths.of_each(depth)
    projections = (
        depths.projections if its.projections is None else int(its.projections[depth].sum())
    )
    assert projections is not None
    return its.layers[depth], projections


@given(
    st.integers(0, 2**32),
    st.integers(1, 13),
    st.integers(0, 14),
    st.sampled_from(["reals", "ties", "falling", "rising"]),
)
def test_every_rule_chooses_as_defined(seed: int, layers: int, K: int, shape: str) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(0.5, 0.6, (200, layers))
    if shape == "ties":
        x = np.round(4 * x) / 4
    elif shape != "reals":
        x = np.sort(x, axis=1)[:, :: -1 if shape == "falling" else 1]
    x = x.astype(np.float32)
    for rule in (*zoo(K), Search(K, p=0.0)):
        # Settings that float32 holds exactly: then so are the comparisons with ties.
        if shape == "ties" and isinstance(rule, (Tolerance, ForwardExit)):
            continue
        found, projections = choices(rule, x)
        wanted = rule.choose(x)
        near = np.zeros(len(x), dtype=bool) if shape != "reals" else _near(x)
        assert (found == wanted)[~near].all(), rule.spec()
        if not near.any():
            assert projections == rule.projections(x).sum(), rule.spec()


def _near(x: np.ndarray) -> np.ndarray:
    """Tokens where some comparison is decided by the rounding of float32."""
    wide = x.astype(np.float64)
    gaps = np.abs(wide[:, :, None] - wide[:, None, :])
    steps = np.unique([0.1, 0.5, 1.0, *(2 * g * k for g in (0.1, 0.5) for k in range(13))])
    close = (np.abs(gaps[..., None] - steps) < 1e-5).any(axis=-1)
    close &= ~np.eye(x.shape[1], dtype=bool)
    near: np.ndarray = close.any(axis=(1, 2)) | (np.abs(wide - 0.1) < 1e-5).any(axis=1)
    return near


def test_a_kernel_that_is_off_by_one_comparison_is_caught() -> None:
    x = np.random.default_rng(0).normal(0.5, 0.6, (400, 12)).astype(np.float32)
    assert (choices(Search(2), x)[0] != Search(3).choose(x)).any()
    assert (choices(Tolerance(0.1), x)[0] != Tolerance(0.12).choose(x)).any()


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Process, Simulation]:
    process = CASES[request.param]
    return process, simulate(process, zoo(), N, seed=7, bins=40, high=HIGH)


@pytest.mark.slow
def test_it_agrees_with_the_plain_simulation(case: tuple[Process, Simulation]) -> None:
    process, fast = case
    n = 60_000
    paths = process.sample(np.random.default_rng(1), n)
    for rule in zoo():
        found = fast[rule]
        layer = rule.choose(paths.x)
        excess = paths.excess(layer)
        within(found.mean, excess.mean(), found.variance / found.n + excess.var() / n)
        within(
            found.projections,
            rule.projections(paths.x).mean(),
            rule.projections(paths.x).var() / n * 1.2,
        )
        shares = np.array(found.layers) / N
        plain = np.bincount(layer, minlength=process.layers) / n
        for p, q in zip(shares, plain, strict=True):
            same_share(p, q, n)
        # No whole number of falls or rises lies on an edge, where rounding would decide.
        bins = np.histogram(np.maximum(excess, 0.0), bins=40, range=(0.0, HIGH))[0] / n
        for count, q in zip(found.histogram, [*bins, 1.0 - bins.sum()], strict=True):
            same_share(count / N, q, n)
        assert sum(found.layers) == sum(found.histogram) == N
        assert found.greatest >= excess.max() * 0.9
        assert found.stderr == pytest.approx(math.sqrt(found.variance / N))


def same_share(p: float, q: float, n: int) -> None:
    """Shares of `N` and of `n` tokens; where they are rare, ten tokens of `n` say nothing yet."""
    pooled = (p * N + q * n) / (N + n)
    assert abs(p - q) <= Z * math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / N)) + 10 / n, (p, q)


def within(a: float, b: float, variance: float) -> None:
    assert abs(a - b) <= Z * math.sqrt(variance) + 1e-12, (a, b, math.sqrt(variance))


@pytest.mark.parametrize("noise", [UniformNoise(0.4), GaussianNoise(0.3)], ids=lambda n: str(n)[:4])
@pytest.mark.parametrize("tau", [0.0, 0.1])
def test_it_agrees_with_the_exact_distribution(
    noise: UniformNoise | GaussianNoise, tau: float
) -> None:
    """T12, for tokens that all turn at one layer; a rule one layer off is rejected."""
    turning = 9
    onset = tuple(float(layer == turning) for layer in range(11))
    process = Process(12, noise, drift=0.15, rise=0.2, perturbed=1.0, onset=onset)
    rule = Tolerance(tau) if tau else Search()
    found = simulate(process, (rule, Shifted(-1)), 1_000_000, seed=3)
    law = stopping_distribution(Model.of(process).latent[0], noise, K=10, tau=tau)
    for count, p in zip(found[rule].layers, law.probability, strict=True):
        within(count / found.n, p, abs(p) / found.n)
    within(found[rule].mean, law.expected_excess(turning), found[rule].variance / found.n)
    within(found[rule].projections, law.extra_projections, 100.0 / found.n)
    wrong = found[Shifted(-1)]
    assert abs(wrong.mean - law.expected_excess(turning)) > 10 * wrong.stderr


def test_counts_alone_give_the_moments_that_values_give() -> None:
    """Random rises of a mean so small that they change nothing: the two ways of summing agree."""
    tiny = replace(FIXED, rise_excess=1e-7)
    rules = (Search(), Shifted(2), Final(), *zoo())
    one, other = (simulate(p, rules, 100_000, seed=2, bins=30) for p in (FIXED, tiny))
    for a, b in zip(one.rules, other.rules, strict=True):
        error = 5 * math.hypot(a.stderr, b.stderr)
        assert a.mean == pytest.approx(b.mean, abs=error)
        assert a.variance == pytest.approx(b.variance, rel=0.05)
        assert a.greatest == pytest.approx(b.greatest, abs=1e-4)


def test_a_rule_that_never_moves_has_no_variance() -> None:
    calm = replace(FIXED, perturbed=0.0)
    found = simulate(calm, zoo(), 50_000, seed=0)
    final = found[Final()]
    assert (final.mean, final.variance, final.greatest, final.projections) == (0.0, 0.0, 0.0, 0.0)
    offset = next(r for r in found.rules if r.rule == "offset:k=4")
    assert offset.mean == pytest.approx(4 * 0.15)
    assert offset.variance == pytest.approx(0.0, abs=1e-20)
    assert offset.layers[9] == 50_000


def test_the_same_bits_for_any_number_of_workers() -> None:
    n = 2 * BLOCK + 12_345
    done: list[int] = []
    one = simulate(UNIFORM, zoo(), n, seed=5, advance=done.append)
    assert sum(done) == count_blocks(n) == 3
    assert one == simulate(UNIFORM, zoo(), n, seed=5, workers=Workers(2))
    assert one != simulate(UNIFORM, zoo(), n, seed=6)


def test_a_turning_point_below_the_window_is_simulated() -> None:
    """A4 fails: the rises between `V*` and the window are part of the excess."""
    process = replace(UNIFORM, perturbed=1.0, onset=(0.0, 1.0, *(0.0,) * 11))
    found = simulate(process, (Search(),), N, seed=1)[Search()]
    paths = process.sample(np.random.default_rng(2), 50_000)
    excess = paths.excess(Search().choose(paths.x))
    within(found.mean, excess.mean(), excess.var() / 50_000 + found.variance / N)


def test_memory_does_not_depend_on_the_number_of_tokens() -> None:
    deep = replace(UNIFORM, layers=40)
    plans = tuple(plan(rule, 40) for rule in zoo(39))
    model = Model.of(deep)
    peaks = []
    for size in (BLOCK // 4, BLOCK):
        tracemalloc.start()
        block_tally(model, plans, 0, 0, size, 256, 1.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 12e6
    assert peaks[1] < 1.1 * peaks[0]


@given(st.integers(1, 10**6), st.integers(1, 10**5))
def test_pieces_are_even_and_make_up_the_whole(tokens: int, columns: int) -> None:
    parts = list(pieces(tokens, columns))
    assert sum(parts) == tokens
    assert max(parts) <= columns
    assert max(parts) - min(parts) <= 1


def test_uniform_noise_fills_its_interval() -> None:
    flat = Process(2, UniformNoise(0.5), K=1, drift=0.0, perturbed=0.0)
    model = Model.of(flat)
    sampler = Sampler(model, 2, 2, 1 << 16)
    rng = np.random.Generator(np.random.SFC64(0))
    x = sampler.draw(rng, 0, 1 << 16).astype(np.float64)
    assert np.abs(x).max() <= 0.5
    assert np.abs(x).max() > 0.4999
    within(x.mean(), 0.0, 1 / 12 / x.size)
    within((x**2).mean(), 1 / 12, 1 / 180 / x.size)
    within(float(np.corrcoef(x)[0, 1]), 0.0, 1 / (1 << 16))


def test_an_empty_tally_changes_nothing() -> None:
    model = Model.of(UNIFORM)
    plans = tuple(plan(rule, 14) for rule in zoo())
    some = block_tally(model, plans, 0, 0, 5000, 16, 1.0)
    whole = Tally.empty(len(plans), len(model.turning), 14, 16) + some
    assert all((getattr(whole, f) == getattr(some, f)).all() for f in some.__dataclass_fields__)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"process": replace(UNIFORM, drift_spread=0.5)}, "constant drifts"),
        ({"rules": (Hedged(0.1),)}, "no scan for this rule"),
        ({"rules": (Search(p=0.5),)}, "draws nothing"),
        ({"rules": ()}, "at least one"),
        ({"n": 1}, "two tokens"),
        ({"seed": -1}, "seed"),
        ({"bins": 0}, "histogram"),
        ({"high": math.inf}, "histogram"),
    ],
)
def test_what_it_does_not_cover_is_told(change: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"process": UNIFORM, "rules": zoo(), "n": 10, "seed": 0}
    with pytest.raises(UserError, match=message):
        simulate(**{**given, **change})  # type: ignore[arg-type]


def test_every_statistic_is_a_plain_value(case: tuple[Process, Simulation]) -> None:
    for found in case[1].rules:
        assert isinstance(found, RuleStatistics)
        for value in found.__dict__.values():
            assert type(value) in (int, float, str, tuple)


def test_every_block_has_a_stream_of_its_own() -> None:
    """With one stream for all, whole tallies would repeat and their errors be too small."""
    model, plans = Model.of(UNIFORM), (plan(Search(10), UNIFORM.layers),)
    first, second, again = (
        block_tally(model, plans, 5, index, 2000, 16, HIGH) for index in (0, 1, 0)
    )
    assert (first.histogram == again.histogram).all()
    assert first.sums.tolist() == again.sums.tolist() != second.sums.tolist()
