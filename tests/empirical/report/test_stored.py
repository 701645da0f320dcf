"""Stored parts of the report: what was computed before, only where everything is the same."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from empirical.data import bundled_traces, stored_parts
from empirical.fitting.compare import split
from empirical.fitting.fit import Fit
from empirical.report import claims, fitting, stored
from empirical.report.results import FULL, WINDOW, Effort, compute
from empirical.report.sources import Source, read_sources
from empirical.report.stored import Origin, Store, bundled_store, part, read_store, write_store
from empirical.traces.files import write_traces
from empirical.traces.window import take_sample
from stopping.changepoint import ChangePointModel
from stopping.changepoint.ascent import PROMISE, newton
from stopping.changepoint.estimate import layout_for
from stopping.changepoint.objective import Objective
from stopping.claims import CLAIMS, Finding, check
from stopping.errors import UserError
from tests.empirical.synthetic import calibrated

TINY = Effort(replicates=100, claims=0.0005)
ORIGIN = Origin("2026-01-01T00:00:00+00:00", "0123456789abcdef", {"python": "3.11"})


@pytest.fixture(scope="module")
def found() -> tuple[Finding, ...]:
    return claims.checked_claims(0, TINY.claims).findings


@pytest.fixture(scope="module")
def jobs() -> tuple[fitting.FitJob, ...]:
    sources = read_sources(list(bundled_traces().values()))
    return fitting.fit_jobs(sources, None, WINDOW, 0, FULL.replicates, FULL.refits)


def marked(findings: tuple[Finding, ...], effort: float) -> Store:
    """A store whose first claim bears a mark, to tell it from what is computed."""
    kept = (replace(findings[0], statement="stored"), *findings[1:])
    return Store(ORIGIN, (part(claims.KIND, claims.claims_inputs(0, effort), kept),))


def test_a_part_is_taken_only_for_the_very_inputs_that_made_it(
    found: tuple[Finding, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "check", lambda *_, **__: found)
    store = marked(found, TINY.claims)
    assert claims.checked_claims(0, TINY.claims, store=store).findings[0].statement == "stored"
    assert not claims.checked_claims(1, TINY.claims, store=store).stored
    assert not claims.checked_claims(0, 2 * TINY.claims, store=store).stored
    assert not claims.checked_claims(0, TINY.claims).stored
    # Of the usual draws, it serves a reader who asked for fewer.
    usual = claims.checked_claims(0, TINY.claims, store=marked(found, claims.USUAL))
    assert (usual.stored, usual.effort) == (True, claims.USUAL)
    # A claim that says something else is another one.
    other = (replace(CLAIMS[0], bound=CLAIMS[0].bound + 1), *CLAIMS[1:])
    monkeypatch.setattr(claims, "CLAIMS", other)
    assert not claims.checked_claims(0, TINY.claims, store=store).stored


@pytest.mark.parametrize("setting", ["LOOKS", "VERSION"])
def test_another_way_of_checking_makes_another_check(
    setting: str, found: tuple[Finding, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "check", lambda *_, **__: found)
    store = marked(found, TINY.claims)
    assert claims.checked_claims(0, TINY.claims, store=store).stored
    monkeypatch.setattr(claims, setting, getattr(claims, setting) + 1)
    assert not claims.checked_claims(0, TINY.claims, store=store).stored


@dataclass(frozen=True)
class Before:
    value: int
    margin: float = 0.0


@dataclass(frozen=True)
class Elsewhere:
    value: int
    margin: float = 0.0


@dataclass(frozen=True)
class After:
    value: int
    slack: float = 0.0


def test_a_renamed_field_is_computed_anew_and_a_moved_type_is_not() -> None:
    store = Store(ORIGIN, (part("kind", {"seed": 0}, (Before(1, 2.0),)),))
    assert store.find("kind", {"seed": 0}, tuple[After, ...]) is None
    assert store.find("kind", {"seed": 0}, tuple[Elsewhere, ...]) == (Elsewhere(1, 2.0),)


def test_the_keys_of_a_part_are_files_and_settings(jobs: tuple[fitting.FitJob, ...]) -> None:
    for inputs in (claims.claims_inputs(0, 1.0), *(job.inputs for job in jobs)):
        assert "." not in "".join(inputs)
        assert not any(re.search(r"stopping|empirical", str(v)) for v in inputs.values())


def test_other_traces_or_settings_make_another_fit() -> None:
    source = Source(Path("a.parquet"), calibrated(prompts=3, tokens=10), "1")
    job = fitting.FitJob(source, 5, 0, 100, 0, None)
    fit = job()
    assert fit.why_not is not None  # too few prompts: quick to find out
    store = Store(ORIGIN, (part(fitting.KIND, job.inputs, replace(fit, why_not="stored")),))
    (kept,), count = fitting.fit_files([job], store)
    assert (kept.why_not, count) == ("stored", 1)
    for other in (
        replace(job, source=replace(source, sha256="2")),
        replace(job, calibrated=source),
        *(replace(job, **{name: 101}) for name in ("seed", "replicates", "refits")),
        replace(job, K=4),
    ):
        (anew,), count = fitting.fit_files([other], store)
        assert (anew.why_not, count) == (fit.why_not, 0)


def test_another_way_of_fitting_makes_another_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    job = fitting.FitJob(Source(Path("a.parquet"), calibrated(prompts=3), "1"), 5, 0, 100, 0, None)
    before = job.inputs
    monkeypatch.setattr(fitting, "VERSION", fitting.VERSION + 1)
    assert job.inputs != before


def test_what_is_written_is_read(found: tuple[Finding, ...], tmp_path: Path) -> None:
    odd = replace(found[0], bound=float("inf"), control_bound=float("-inf"))
    store = Store(ORIGIN, (part("claims", {"seed": 0}, (odd, *found[1:])),))
    write_store(tmp_path / "s.json", store)
    again = read_store(tmp_path / "s.json")
    assert again.origin == ORIGIN
    assert again.find("claims", {"seed": 0}, tuple[Finding, ...]) == (odd, *found[1:])


def test_a_damaged_store_costs_time_and_no_result(
    found: tuple[Finding, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.json"
    monkeypatch.setattr(stored, "stored_parts", lambda: path)
    warnings: list[str] = []
    assert bundled_store(warnings.append) is None
    assert warnings == []
    write_store(path, marked(found, TINY.claims))
    assert bundled_store(warnings.append) is not None
    content = json.loads(path.read_text())
    for damage in ("{", json.dumps(content | {"format": "x"}), json.dumps(content | {"parts": 3})):
        path.write_text(damage)
        assert bundled_store(warnings.append) is None
        assert "computed anew" in warnings.pop()
        with pytest.raises(UserError):
            read_store(path)
    # One part alone: it is computed, and the others are taken.
    del content["parts"][0]["value"][0]["verdict"]
    path.write_text(json.dumps(content))
    store = bundled_store(warnings.append)
    assert store is not None
    inputs = claims.claims_inputs(0, TINY.claims)
    assert store.find(claims.KIND, inputs, tuple[Finding, ...]) is None


@pytest.mark.slow
def test_the_report_says_what_was_stored(found: tuple[Finding, ...], tmp_path: Path) -> None:
    write_traces(tmp_path / "t.parquet", calibrated(prompts=6, tokens=20))
    report = compute([tmp_path / "t.parquet"], effort=TINY, store=marked(found, TINY.claims))
    assert report.reused is not None
    assert report.reused.what == "the check of the claims"
    assert report.reused.origin == ORIGIN
    assert compute([tmp_path / "t.parquet"], effort=TINY).reused is None


def kept_claims(store: Store) -> tuple[Finding, ...] | None:
    """The bundled check of the claims, if it is of these claims."""
    inputs = claims.claims_inputs(0, FULL.claims)
    return store.find(claims.KIND, inputs, tuple[Finding, ...])


def ascended(
    job: fitting.FitJob, kept: Fit, model: ChangePointModel, steps: int
) -> tuple[float, float]:
    """Log-likelihood per token after Newton steps on the tokens of a job, and what they left.

    Probabilities below `exp(-12)` of the largest are taken for that, which costs some 1e-6.
    """
    traces = job.source.traces
    x = take_sample(traces, job.K, job.seed, job.replicates).x
    train = split(x, traces.prompt.astype(np.intp), job.seed, len(x)).train
    layout = layout_for(train, len(model.components), model.scale)
    value, _, promised = newton(Objective.of(layout, x), layout.vector(model), steps)
    return value + float(model.scale.log_slope(x).sum(axis=1).mean()), promised


class TestBundled:
    def test_the_default_report_finds_all_its_parts(self, jobs: tuple[fitting.FitJob, ...]) -> None:
        store = read_store(stored_parts())
        assert kept_claims(store), "python -m tests.empirical.report.refresh"
        fits, count = fitting.fit_files(jobs, store)
        assert count == len(jobs), "python -m tests.empirical.report.refresh"
        assert all(fit.fit is not None for fit in fits)
        assert stored_parts().stat().st_size < 1_000_000

    def test_a_claim_is_found_again(self) -> None:
        store = read_store(stored_parts())
        kept = kept_claims(store)
        assert kept is not None
        claim = next(claim for claim in CLAIMS if claim.name == kept[0].name)
        (again,) = check((claim,), seed=0, effort=FULL.claims)
        assert (again.verdict, again.control_verdict) == (kept[0].verdict, kept[0].control_verdict)
        assert again.estimate.mean == pytest.approx(kept[0].estimate.mean, rel=1e-9)

    def test_every_fit_is_a_top_of_its_own_tokens(self, jobs: tuple[fitting.FitJob, ...]) -> None:
        # Which top a search from random starts ends on depends on the processor's rounding, where
        # there are many; that it is one does not.
        store = read_store(stored_parts())
        for job in jobs:
            kept = store.find(fitting.KIND, job.inputs, fitting.FileFit).fit
            height, promised = ascended(job, kept, kept.model, steps=0)
            assert height == pytest.approx(kept.optimisation.log_likelihood, abs=1e-5)
            assert promised < PROMISE
            assert kept.tokens == len(job.source.traces)

    def test_control_another_vector_is_no_top(self, jobs: tuple[fitting.FitJob, ...]) -> None:
        job = min(jobs, key=lambda job: len(job.source.traces))
        kept = read_store(stored_parts()).find(fitting.KIND, job.inputs, fitting.FileFit).fit
        first, *others = kept.model.components
        beside = replace(
            kept.model, components=(replace(first, noise_sd=1.1 * first.noise_sd), *others)
        )
        height, promised = ascended(job, kept, beside, steps=0)
        assert height < kept.optimisation.log_likelihood
        assert promised > PROMISE
        back, _ = ascended(job, kept, beside, steps=20)
        assert back == pytest.approx(kept.optimisation.log_likelihood, abs=1e-5)

    def test_it_says_what_made_it(self) -> None:
        origin = read_store(stored_parts()).origin
        assert len(origin.commit) == 40
        assert origin.date.startswith("20")
        assert {"python", "numpy", "scipy", "layer-stopping"} <= set(origin.versions)
