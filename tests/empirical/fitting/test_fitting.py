"""Fitting traces: known worlds are predicted, wrong models are refused, bad input says why."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from markupsafe import Markup

from empirical.commands.fit import fit as command
from empirical.fitting.bounds import Bound, check_bounds
from empirical.fitting.compare import (
    DEFAULT,
    STRATA,
    Split,
    Treatment,
    _of_normals,
    _of_strata,
    _of_tails,
    _of_treatment,
    _of_walk,
    compare,
    split,
)
from empirical.fitting.fit import Fit, fit_traces
from empirical.fitting.predictive import Agreement, Prediction, pit, predictive
from empirical.fitting.statuses import excess_status
from empirical.fitting.tables import layers
from empirical.fitting.views import disagreement, noise_views
from empirical.provenance import Provenance
from empirical.report.fitting import SHOWN, fit_files, fit_jobs, profiles_svg
from empirical.report.page import environment
from empirical.report.sources import Source
from empirical.traces.files import Traces, write_traces
from stopping.changepoint import ChangePointModel, Component, Scale, posterior, read_model
from stopping.changepoint.evidence import NEEDS_TURNS, Evidence
from stopping.changepoint.inference import Status
from stopping.changepoint.layer_profile import final_excess
from stopping.cli.main import exit_code
from stopping.errors import UserError
from stopping.support.statistics import Interval
from stopping.types import FloatArray
from tests.empirical.synthetic import from_entropies, with_mode

NATS = Treatment(Scale(), 1)


def world(level: float = 6.0) -> ChangePointModel:
    """One class in nats, high enough never to be negative; a third of the tokens turn."""
    part = Component(
        start_mean=level,
        start_sd=0.6,
        drift_mean=np.array([0.5, 0.4, 0.5]),
        drift_sd=np.array([0.3, 0.3, 0.3]),
        rise_mean=np.array([0.9, 1.0, 1.1]),
        rise_sd=np.array([0.3, 0.3, 0.3]),
        noise_sd=np.array([0.3, 0.35, 0.3, 0.0]),
        turning=np.array([0.0, 0.3, 0.3, 0.4]),
    )
    return ChangePointModel((part,), np.ones(1))


def drawn(n: int = 3000, seed: int = 0, prompts: int = 40) -> Traces:
    return from_entropies(world().sample(np.random.default_rng(seed), n).x, prompts)


def prompts_of(n: int, prompts: int = 40) -> np.ndarray:
    return np.arange(n) * prompts // n


@pytest.fixture(scope="module")
def fitted() -> Fit:
    return fit_traces(drawn(), K=3, treatment=NATS, replicates=200, refits=20, starts=4)


class TestOnAKnownWorld:
    @pytest.mark.slow
    def test_the_fit_finds_it(self, fitted: Fit) -> None:
        truth = world()
        assert fitted.optimisation.converged
        assert fitted.optimisation.information_positive
        for row, share, noise in zip(
            fitted.layers, truth.turning_distribution(), truth.noise_nats(), strict=True
        ):
            assert row.turning.estimate == pytest.approx(share, abs=0.06)
            assert row.noise.estimate == pytest.approx(noise, abs=0.06)

    def test_its_predictions_stand(self, fitted: Fit) -> None:
        failed = fitted.predictive.failures
        # Intervals of 95 % with a tolerance: one in twenty may fail.
        assert len(failed) <= 2, [(p.group, p.name) for p in failed]
        assert fitted.predictive.depth_predicted.sum() == pytest.approx(1.0)
        assert fitted.predictive.pit == pytest.approx(0.1, abs=0.03)

    def test_turning_points_hide_noise_from_moments(self, fitted: Fit) -> None:
        """Moments mix all tokens; the likelihood does not."""
        before_turning = fitted.views.layers[1]
        assert before_turning.by_moments is not None
        assert 0.5 < before_turning.by_moments / before_turning.by_fit.estimate < 1.2
        # Where a third of the tokens turn, turning hides all of the noise.
        assert fitted.views.hidden == (3,)
        assert fitted.views.layers[0].by_moments is None
        assert "factor" in disagreement(fitted.views)

    def test_bootstrap_and_sandwich_agree(self, fitted: Fit) -> None:
        for row in fitted.layers[:-1]:
            assert row.bootstrap_noise is not None
            width = row.noise.high - row.noise.low
            assert 0.3 < (row.bootstrap_noise.high - row.bootstrap_noise.low) / width < 2.0

    def test_believed_and_simulated_excess_agree(self, fitted: Fit) -> None:
        excess = fitted.bounds.excess
        slack = 0.03
        believed = excess.believed_search
        assert believed.low - slack < excess.simulated_search < believed.high + slack
        assert excess.believed_bayes.estimate <= believed.estimate
        assert believed.estimate < excess.believed_final.estimate

    def test_the_latent_excess_holds_the_truth_and_has_a_status(self, fitted: Fit) -> None:
        assert final_excess(world()) in fitted.excess.final
        assert fitted.excess.status is Status.IDENTIFIED

    def test_what_is_not_identified_is_not_printed(self, fitted: Fit) -> None:
        nothing = replace(
            fitted,
            evidence=Evidence(Interval(0.0, -0.1, 0.1)),
            parameters=tuple(
                replace(p, status=Status.NOT_IDENTIFIED) if p.name in NEEDS_TURNS else p
                for p in fitted.parameters
            ),
        )
        judged = excess_status(nothing.evidence, nothing.misfit, nothing.parameters)
        assert judged is Status.NOT_IDENTIFIED
        (shown,) = layers(nothing)
        (before,) = layers(fitted)
        columns = [[list(c.cells) for c in rows.columns] for rows in (before, shown)]
        assert all("%" in cell for cell in columns[0][1])
        assert columns[1][1] == columns[1][6] == columns[1][7] == ["–"] * 4

    def test_bounds_hold_and_a_tenth_of_them_does_not(self, fitted: Fit) -> None:
        for bound in fitted.bounds.bounds:
            assert bound.holds, bound
        shares = [b for b in fitted.bounds.bounds if b.found > 0]
        assert shares
        assert not all(replace(b, bound=b.bound / 10).holds for b in shares)

    def test_the_final_noise_is_a_convention(self, fitted: Fit) -> None:
        last = [p for p in fitted.parameters if p.name == "noise_sd" and p.index == 3]
        assert [p.status for p in last] == [Status.CONVENTION]


class TestChecksThatCanFail:
    """Each check against a model that is wrong in the way that it is there to notice."""

    def asked(self, model: ChangePointModel) -> dict[str, Agreement]:
        x = world().sample(np.random.default_rng(5), 6000).x
        found = predictive(model, x, prompts_of(6000), 0.5, seed=0, replicates=200)
        return {f"{p.group}: {p.name}": p.agreement for p in found.predictions}

    def test_the_truth_passes(self) -> None:
        found = self.asked(world())
        assert list(found.values()).count(Agreement.FAILS) <= 1

    @pytest.mark.parametrize(
        ("change", "notices"),
        [
            ({"noise_sd": np.array([0.6, 0.7, 0.6, 0.0])}, "lag-one correlation"),
            ({"turning": np.array([0.0, 0.05, 0.05, 0.9])}, "search: share moved"),
            ({"drift_sd": np.full(3, 0.9)}, "noise needed"),
            ({"start_mean": 6.8}, "PIT"),
            ({"rise_mean": np.full(3, 0.3)}, "certificates"),
        ],
    )
    def test_a_wrong_model_fails(self, change: dict[str, object], notices: str) -> None:
        part = replace(world().components[0], **change)
        found = self.asked(ChangePointModel((part,), np.ones(1)))
        failed = [name for name, agreement in found.items() if agreement is Agreement.FAILS]
        assert any(name.startswith(notices) for name in failed), failed

    def test_agreement_needs_interval_or_tolerance(self) -> None:
        seen = Interval(0.5, 0.45, 0.55)
        for predicted, verdict in (
            (0.46, Agreement.AGREES),
            (0.565, Agreement.AGREES),
            (0.6, Agreement.FAILS),
        ):
            slack = 0.01
            one = Prediction("g", "n", "share", predicted, slack, seen)
            assert one.agreement is verdict

    def test_a_bound_without_premises_is_not_said_to_hold(self) -> None:
        assert Bound("T2", "", 1.0, 0.0, 0).holds is None
        assert Bound("T2", "", 1.0, 2.0, 5).holds is False
        assert Bound("T2", "", 1.0, 0.0, 5).looseness == np.inf

    def test_t14_fails_with_the_noise_of_another_model(self) -> None:
        """The bound at a tenth of the noise is below what the search does."""
        found = check_bounds(
            world(),
            world().sample(np.random.default_rng(1), 500).x,
            prompts_of(500),
            0,
            100,
            draws=4000,
        )
        above = next(b for b in found.bounds if "above" in b.statement)
        part = replace(world().components[0], noise_sd=0.1 * world().components[0].noise_sd)
        quiet = check_bounds(
            ChangePointModel((part,), np.ones(1)),
            world().sample(np.random.default_rng(1), 500).x,
            prompts_of(500),
            0,
            100,
            draws=4000,
        )
        bound = next(b for b in quiet.bounds if "above" in b.statement).bound
        assert above.holds
        assert above.found > bound


def test_t14_takes_the_measured_correlation() -> None:
    """Correlated noise stops the search above V* less often, and the bound says so."""
    tokens = world().sample(np.random.default_rng(1), 500).x
    alone, together = (
        check_bounds(
            world(), tokens, prompts_of(500), 0, 100, draws=20_000, correlation=correlation
        )
        for correlation in (None, np.full(3, 0.9))
    )
    assert (alone.correlation, together.correlation) == (None, (0.9, 0.9, 0.9))
    for one, other in zip(alone.bounds[1:], together.bounds[1:], strict=True):
        assert one.theorem == other.theorem == "T14"
        assert one.holds
        assert other.holds
        assert other.bound < 0.8 * one.bound
        assert other.found < one.found
    again = check_bounds(
        world(), tokens, prompts_of(500), 0, 100, draws=20_000, correlation=np.zeros(3)
    )
    for one, other in zip(alone.bounds[1:], again.bounds[1:], strict=True):
        assert other.bound == pytest.approx(one.bound, rel=1e-9)


class TestHeldOutLikelihood:
    def densities(self, x: FloatArray) -> dict[str, float]:
        parts = split(x, prompts_of(len(x)), 0)
        asked = {
            "change point": _of_treatment(parts, 0, NATS),
            "independent": _of_normals(parts, 0, NATS, False),
            "full": _of_normals(parts, 0, NATS, True),
            "walk": _of_walk(parts, 0, NATS, False),
            "noisy walk": _of_walk(parts, 0, NATS, True),
        }
        return {name: float(density.mean()) for name, (_, density) in asked.items()}

    def test_the_change_point_wins_on_its_own_world(self) -> None:
        found = self.densities(world().sample(np.random.default_rng(2), 4000).x)
        assert max(found, key=lambda name: found[name]) == "change point"
        assert found["noisy walk"] > found["walk"]

    def test_and_loses_on_a_covariance_that_no_walk_has(self) -> None:
        rng = np.random.default_rng(3)
        # Layers that alternate around a common level: neighbours negatively related at distance.
        signs = np.array([1.0, -1.0, 1.0, -1.0])
        x = 6 + 0.8 * rng.standard_normal((4000, 1)) * signs + 0.2 * rng.standard_normal((4000, 4))
        found = self.densities(x)
        assert found["full"] > found["change point"] + 0.1

    @pytest.mark.slow
    def test_densities_are_densities(self) -> None:
        """Each candidate's density on its own draws beats every other model's: Gibbs."""
        rng = np.random.default_rng(4)
        x = world().sample(rng, 3000).x
        parts = split(x, prompts_of(3000), 0)
        entropy = -float(posterior(world(), parts.test).log_likelihood.mean())
        error = posterior(world(), parts.test).log_likelihood.std() / np.sqrt(len(parts.test))
        for _, density in (
            _of_strata(parts, 0),
            _of_tails(parts, 0),
            _of_treatment(parts, 0, Treatment(Scale(0.01), 1)),
            _of_treatment(parts, 0, Treatment(Scale(0.01, 1.0), 1)),
            _of_normals(parts, 0, NATS, True),
        ):
            assert density.mean() < -entropy + 4 * error

    def test_heavier_tails_help_where_there_are_some(self) -> None:
        rng = np.random.default_rng(5)
        scale = rng.choice([1.0, 4.0], p=[0.8, 0.2], size=3000)[:, None]
        walk = np.cumsum(
            np.concatenate(
                [6 + 0 * scale, -0.3 + 0.3 * scale * rng.standard_normal((3000, 3))], axis=1
            ),
            axis=1,
        )
        parts = split(walk + 0.1 * scale * rng.standard_normal(walk.shape), prompts_of(3000), 0)
        assert _of_tails(parts, 0)[1].mean() > _of_treatment(parts, 0, NATS)[1].mean() + 0.1

    def test_the_table(self) -> None:
        x = world().sample(np.random.default_rng(6), 640).x
        found = compare(x, prompts_of(640), tokens=320, replicates=100, jobs=2)
        assert found.models[0].name == found.chosen.name
        assert any(f"{STRATA} strata" in row.name for row in found.treatments)
        best = max(c.log_likelihood for c in found.treatments if c.eligible)
        assert found.models[0].log_likelihood == best
        assert not any(c.eligible for c in found.models[1:])

    def test_prompts_are_not_split(self) -> None:
        x = np.random.default_rng(0).random((100, 3))
        parts: Split = split(x, prompts_of(100, 10), 1)
        assert not set(parts.train_prompt) & set(parts.test_prompt)
        assert len(parts.train) + len(parts.test) == 100


class TestViews:
    def test_moments_are_right_without_turning_points(self) -> None:
        part = replace(world().components[0], turning=np.array([0, 0, 0, 1.0]))
        x = ChangePointModel((part,), np.ones(1)).sample(np.random.default_rng(7), 20_000).x
        none = Interval(0.0, 0.0, 0.0)
        found = noise_views(x, prompts_of(20_000, 200), np.arange(1, 5), (none,) * 4, 0, 200)
        for row, sigma in zip(found.layers[1:3], (0.35, 0.3), strict=True):
            assert row.autocovariance is not None
            assert sigma**2 in row.autocovariance
            assert 1.3 * sigma**2 not in row.autocovariance
            assert row.by_moments == pytest.approx(sigma, abs=0.03)

    def test_increments_that_go_together_hide_it(self) -> None:
        rng = np.random.default_rng(8)
        slope = rng.standard_normal((4000, 1))
        x = 20 + slope * np.arange(4) + 0.1 * rng.standard_normal((4000, 4))
        none = Interval(0.0, 0.0, 0.0)
        found = noise_views(x, prompts_of(4000), np.arange(1, 5), (none,) * 4, 0, 200)
        assert found.hidden == (2, 3)
        assert "go together" in disagreement(found)

    @pytest.mark.slow
    def test_measured_against_a_calibrated_lens(self) -> None:
        raw = drawn(800)
        calibrated = replace(
            raw,
            entropy=raw.entropy + np.float32(0.3),
            provenance=replace(raw.provenance, lens="temperature"),
        )
        found = fit_traces(
            raw, 3, treatment=NATS, replicates=100, refits=0, starts=2, calibrated=calibrated
        )
        assert found.views.calibrated_lens == "temperature"
        for row in found.views.layers:
            assert row.bias is not None
            assert row.bias.estimate == pytest.approx(-0.3, abs=1e-5)
        assert found.layers[0].bootstrap_noise is None


@pytest.mark.parametrize(
    ("traces", "message"),
    [
        (from_entropies(np.full((900, 4), 2.0), 30), "same entropy"),
        (drawn(10, prompts=5), "tokens for"),
        (drawn(900, prompts=1), "at least two"),
        (drawn(900, prompts=3), "at least four"),
    ],
    ids=["constant layers", "ten tokens", "one prompt", "three prompts"],
)
def test_bad_traces_say_why(traces: Traces, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit_traces(traces, 3, treatment=NATS, replicates=100)


def test_what_judges_a_fit_had_no_part_in_choosing_its_treatment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    traces = drawn(900, prompts=30)
    seen: list[np.ndarray] = []

    def stop(x: np.ndarray, prompt: np.ndarray, *rest: object) -> None:
        seen.append(prompt)
        raise KeyboardInterrupt

    monkeypatch.setattr("empirical.fitting.fit.compare", stop)
    with pytest.raises(KeyboardInterrupt):
        fit_traces(traces, 3, treatment=None, replicates=100)
    judges = split(traces.entropy, traces.prompt.astype(np.intp), 0, len(traces)).test_prompt
    assert not set(seen[0]) & set(judges)
    with pytest.raises(UserError, match="at least 8"):
        fit_traces(drawn(900, prompts=7), 3, treatment=None, replicates=100)


def test_a_window_too_deep_says_why() -> None:
    with pytest.raises(UserError, match="traced layers"):
        fit_traces(drawn(400), 9, replicates=100)
    with pytest.raises(UserError, match="one step back"):
        fit_traces(drawn(400), 0, replicates=100)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fit") / "w.parquet"
    write_traces(path, drawn(1200), storage="float32")
    return path


class TestCommand:
    def run(self, *arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(command, [str(a) for a in arguments])
        if isinstance(result.exception, UserError):
            return exit_code(lambda: (_ for _ in ()).throw(result.exception)), str(result.exception)
        assert result.exception is None, result.exception
        return result.exit_code, result.output

    @pytest.mark.slow
    def test_text_model_and_figure(self, path: Path, tmp_path: Path) -> None:
        out, figure = tmp_path / "FIT.json", tmp_path / "fit.png"
        options = ("--window", 3, "--scale", "nats", "--classes", 1, "--refits", 20)
        code, text = self.run(
            path, *options, "--replicates", 100, "--jobs", 1, "--out", out, "--figure", figure
        )
        assert code == 0
        for word in ("turn here", "predicted", "T14", "by convention", "predictions stand"):
            assert word in text
        assert figure.read_bytes()[:4] == b"\x89PNG"
        model = read_model(out)
        assert model.w == 4
        content = json.loads(out.read_text())
        assert content["provenance"]["seed"] == 0
        assert content["provenance"]["traces"]["model"] == "synthetic"
        assert "layer-stopping" in content["provenance"]["versions"]
        assert content["layers"] == [1, 2, 3, 4]

    @pytest.mark.slow
    def test_json(self, path: Path) -> None:
        options = ("--window", 3, "--scale", "nats", "--classes", 1, "--refits", 0)
        code, text = self.run(path, *options, "--replicates", 100, "--jobs", 1, "--json")
        assert code == 0
        (one,) = json.loads(text[text.index("[") :])
        assert one["fit"]["optimisation"]["converged"]
        assert {p["status"] for p in one["fit"]["parameters"]} >= {"identified", "by convention"}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("missing.parquet",), "no such file"),
            (("a.parquet", "b.parquet", "--out", "x.json"), "one trace file"),
        ],
    )
    def test_mistakes(self, arguments: tuple[str, ...], message: str) -> None:
        code, text = self.run(*arguments)
        assert code == 2
        assert message in text

    def test_figures_have_known_suffixes(self, path: Path, tmp_path: Path) -> None:
        options = ("--window", 3, "--scale", "nats", "--classes", 1, "--refits", 0)
        code, text = self.run(
            path, *options, "--replicates", 100, "--jobs", 1, "--figure", tmp_path / "x.bmp"
        )
        assert code == 2
        assert "*.svg, *.pdf or *.png" in text


class TestReport:
    @pytest.mark.slow
    def test_a_section_with_fits_and_with_reasons(self) -> None:
        good = with_mode(drawn(1500), "generated")
        bad = with_mode(drawn(900, prompts=3), "generated")
        bad = replace(bad, provenance=replace(bad.provenance, model="another <model>"))
        done: list[None] = []
        sources = [
            Source(Path(f"{name}.parquet"), traces, name)
            for name, traces in (("g", good), ("b", bad))
        ]
        jobs = fit_jobs(sources, None, 10, 0, 100, 0)
        found, stored = fit_files(jobs, done=lambda: done.append(None))
        assert stored == 0
        assert len(done) == 2
        assert found[0].fit is not None
        assert found[0].fit.K == 3
        assert found[0].label == "synthetic, raw, generated"
        assert found[1].fit is None
        assert "at least four" in str(found[1].why_not)
        figure = profiles_svg(found)
        assert figure is not None
        text = (
            environment("empirical.report")
            .get_template("fit.html.j2")
            .render(
                report=SimpleNamespace(fits=found),
                fit_figure=Markup(figure),
                fit_shown=SHOWN,
                fit_disagreement=disagreement,
            )
        )
        assert "another &lt;model&gt;, raw, generated: not fitted." in text
        share = found[0].fit.predictive["share moved"].predicted
        assert f"{100 * share:.1f}" in text
        assert "nan" not in text

    def test_no_fits_no_section(self) -> None:
        source = Source(Path("g.parquet"), with_mode(drawn(40), "generated"), "g")
        assert fit_jobs([source], None, 10, 0, 100, None) == ()
        assert fit_files([]) == ((), 0)
        assert profiles_svg(()) is None


def test_pit_of_the_truth_is_flat_and_of_another_level_is_not() -> None:
    x = world().sample(np.random.default_rng(9), 20_000).x
    assert pit(world(), x) == pytest.approx(0.1, abs=4 * 0.3 / np.sqrt(20_000))
    assert np.abs(pit(world(6.5), x) - 0.1).max() > 0.05


def test_provenance_of_synthetic_traces_is_complete() -> None:
    assert isinstance(drawn(40).provenance, Provenance)
    assert DEFAULT.name == "softplus 1, 2 classes"
