"""What the report says beyond single traces: the effect of calibration, and problems solved."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import empirical.commands.report as command
from empirical.analysis.projection_noise import shared_tokens
from empirical.evaluation import Answer, compare
from empirical.evaluation.run import FORMAT, Evaluation, read_evaluation
from empirical.evaluation.runner import Settings
from empirical.problems import draw_problems
from empirical.provenance import Provenance
from empirical.report.calibration import calibration_effects
from empirical.report.page import render_page
from empirical.report.results import Effort, compute
from empirical.report.terminal import calibration_line, solved_line
from empirical.traces.files import Traces, write_traces
from stopping.errors import UserError
from stopping.support.statistics import clopper_pearson
from tests.empirical.synthetic import calibrated, with_mode

TINY = Effort(replicates=100, claims=0.0005)


def through(traces: Traces, lens: str) -> Traces:
    return replace(traces, provenance=replace(traces.provenance, lens=lens, prompts_hash="h"))


def pair(shift: float = 1.5) -> tuple[Traces, Traces]:
    """The same tokens, the raw lens promising `shift` nats too little below the final layer."""
    after = calibrated(seed=4, prompts=20, tokens=40)
    entropy = after.entropy.copy()
    entropy[:, :-1] = np.maximum(entropy[:, :-1] - shift, 0.0)
    return through(replace(after, entropy=entropy), "raw"), through(after, "temperature")


def evaluation(solved: int = 4, n: int = 12) -> Evaluation:
    problems = draw_problems(n, 1)
    plain = [Answer(i, "x", "1", i < solved, 9, True) for i in range(n)]
    ruled = [Answer(i, "y", None, i < solved - 2, 9, True, 4, 1) for i in range(n)]
    return Evaluation(
        provenance=Provenance("synthetic", "Synthetic", 12, 8, 50, "generated", date="today"),
        settings=Settings(),
        problems=tuple((p.id, p.difficulty, p.answer) for p in problems),
        plain_accuracy=clopper_pearson(solved, n),
        plain_ended=1.0,
        plain_length=9.0,
        rules=compare(problems, plain, {("search", "search:K=10,p=1.0"): ruled}),
        answers={"plain": ("1",) * n, "search:K=10,p=1.0": (None,) * n},
    )


class TestCalibration:
    def test_it_recovers_what_was_put_in(self) -> None:
        before, after = pair()
        (effect,) = calibration_effects([before, after], 10, 0, 200)
        cut = before.entropy.astype(np.float64) - after.entropy
        means = [layer.mean.estimate for layer in effect.noise.layers]
        assert means == pytest.approx(cut.mean(axis=0), abs=1e-6)
        assert means[-1] == 0.0
        assert 0.0 in effect.calibrated.window_gap
        assert effect.raw.window_gap.low > 0.5
        # Differences are paired: both sides see the same final layer.
        saved = effect.raw.log_loss.estimate - effect.calibrated.log_loss.estimate
        assert effect.removed.estimate == pytest.approx(saved / effect.raw.log_loss.estimate)

    def test_a_lens_that_changes_nothing_removes_nothing(self) -> None:
        before, _ = pair()
        same = through(before, "temperature")
        (effect,) = calibration_effects([before, same], 10, 0, 200)
        assert effect.removed.estimate == 0.0
        assert effect.raw.log_loss == effect.calibrated.log_loss

    def test_only_shared_tokens_count(self) -> None:
        before, after = pair()
        half = after.select(after.prompt < 10)
        cut, kept = shared_tokens(before, half)
        assert len(cut) == len(kept) == len(half)
        assert calibration_effects([before, half], 10, 0, 200)[0].prompts == 10

    def test_what_cannot_be_paired_is_left_out(self) -> None:
        before, after = pair()
        other = replace(after, provenance=replace(after.provenance, prompts_hash="other"))
        weights = replace(after, provenance=replace(after.provenance, weights={"w": "1"}))
        own = with_mode(after, "generated")
        single = after.select(after.prompt == 3)
        for alone in (other, weights, own, single):
            assert calibration_effects([before, alone], 10, 0, 200) == ()
        assert calibration_effects([after], 10, 0, 200) == ()


class TestEvaluationFiles:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "e.json"
        FORMAT.write(path, evaluation())
        assert read_evaluation(path) == evaluation()

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "e.json"
        FORMAT.write(path, evaluation())
        content = json.loads(path.read_text())
        for change, message in (
            ({"format": "something else"}, "no evaluation"),
            ({"version": 99}, "format version 99"),
            ({"rules": [{"name": "search"}]}, "incomplete or damaged"),
            ({"plain_length": "long"}, "incomplete or damaged"),
        ):
            path.write_text(json.dumps(content | change))
            with pytest.raises(UserError, match=message):
                read_evaluation(path)
        path.write_text(json.dumps(content)[:-20])
        with pytest.raises(UserError, match="no evaluation"):
            read_evaluation(path)
        with pytest.raises(UserError, match="no such file"):
            read_evaluation(tmp_path / "none.json")


class TestPage:
    @pytest.mark.slow
    def test_both_sections_stand_on_the_page(self, tmp_path: Path) -> None:
        paths = []
        for name, traces in zip(("raw", "calibrated"), pair(), strict=True):
            paths.append(tmp_path / f"{name}.parquet")
            write_traces(paths[-1], traces)
        solved = tmp_path / "e.json"
        FORMAT.write(solved, evaluation())
        result = CliRunner().invoke(
            command.report,
            [*map(str, paths), "--evaluation", str(solved), "--out", str(tmp_path / "report"),
             "--quick", "--jobs", "1"],
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        page = (tmp_path / "report" / "report.html").read_text()
        assert 'id="calibration"' in page
        assert 'id="problems"' in page
        assert "--evaluation e.json" in page
        assert "12 problems solved exactly" in result.stdout
        assert "in place of the raw one" in result.stdout

    @pytest.mark.slow
    def test_neither_stands_there_without_its_data(self, tmp_path: Path) -> None:
        path = tmp_path / "raw.parquet"
        write_traces(path, pair()[0])
        page = render_page(compute([path], effort=TINY))
        assert 'id="calibration"' not in page
        assert 'id="problems"' not in page

    @pytest.mark.slow
    def test_a_floor_is_called_one(self, tmp_path: Path) -> None:
        path, solved = tmp_path / "raw.parquet", tmp_path / "e.json"
        write_traces(path, pair()[0])
        for count, said in ((4, False), (2, True)):
            FORMAT.write(solved, evaluation(count, 60))
            page = render_page(compute([path], [solved], effort=TINY))
            assert ("little to lose" in page) is said

    def test_lines_say_what_the_tables_say(self) -> None:
        before, after = pair()
        (effect,) = calibration_effects([before, after], 10, 0, 200)
        assert "the gap of A0 from" in calibration_line(effect)
        assert "plain decoding: 33.3\u00a0%" in solved_line(evaluation())
