"""Pools in `validate`: exact log-loss, what is left out, and the draw beside each."""

import json
import math

import numpy as np
import pytest

from empirical.analysis.validate import Pool, validate
from empirical.decoding.rivals import Mix
from empirical.traces.files import write_traces
from stopping.cli import main
from stopping.errors import UserError
from stopping.rules import Search
from stopping.theory.calibration_budget import log_loss_change
from tests.empirical.synthetic import calibrated
from tests.empirical.tiny import CLOSE, tiny

POOL = Mix(weight=0.75, K=3)
DRAWN = "search drawn with p=0.25"


def test_the_pool_by_hand() -> None:
    traces = tiny()
    found = validate(traces, [POOL], K=3)
    choice = Search(3).choose(traces.entropy[:, -4:].astype(float)) + traces.entropy.shape[1] - 4
    p = np.exp(traces.log_prob.astype(float))
    pooled = -np.log(0.75 * p[:, -1] + 0.25 * p[np.arange(len(p)), choice])
    row = found[POOL.name]
    m = row.overall
    assert (row.kind, row.spec) == ("pool", POOL.spec())
    assert m.log_loss.estimate == pytest.approx(pooled.mean(), abs=CLOSE)
    difference = pooled.mean() + traces.log_prob[:, -1].mean()
    assert m.log_loss_vs_final.estimate == pytest.approx(difference, abs=CLOSE)
    # Its argmax and its entropy are not in the traces.
    for name in ("accuracy", "accuracy_vs_final", "substituted", "entropy", "optimism", "drop"):
        assert math.isnan(getattr(m, name).estimate), name
    assert (m.right_to_wrong, m.wrong_to_right) == (None, None)
    assert (m.moved.estimate, m.projections.estimate) == (3 / 5, 3)


def test_the_draw_is_the_expectation_of_the_randomised_rule() -> None:
    traces = calibrated(prompts=12, tokens=60)
    draw = validate(traces, [POOL], K=3)[DRAWN]
    assert (draw.kind, draw.spec) == ("draw", "search:K=3,p=0.25")
    runs = [validate(traces, [Search(3, p=0.25)], K=3, seed=seed).rows[1] for seed in range(20)]
    for name in ("log_loss", "accuracy", "moved", "depth", "entropy", "substituted_when_moved"):
        drawn = np.array([getattr(run.overall, name).estimate for run in runs])
        error = 4 * drawn.std(ddof=1) / math.sqrt(len(drawn)) + 1e-9
        assert abs(getattr(draw.overall, name).estimate - drawn.mean()) < error, name
    m, final = draw.overall, validate(traces, [POOL], K=3).final.overall
    said = log_loss_change(m.drop.estimate, m.optimism.estimate, final.optimism.estimate)
    assert float(said) == pytest.approx(m.log_loss_vs_final.estimate, abs=1e-9)


@pytest.mark.parametrize("weight", [0.99, 0.5, 0.01])
def test_m1_on_traces(weight: float) -> None:
    found = validate(calibrated(prompts=8, tokens=40), [Mix(weight=weight, K=3)], K=3)
    final, pool, draw = (row.overall.log_loss.estimate for row in found.rows[:3])
    assert pool <= draw
    assert pool <= final + math.log(1 / weight)


def test_plain_decoding_is_plain() -> None:
    row = validate(calibrated(prompts=8, tokens=40), [Mix(weight=1, K=3)], K=3).rows[1]
    assert row.overall.log_loss_vs_final.estimate == 0.0


def test_a_pool_is_checked_as_its_rule() -> None:
    assert isinstance(POOL, Pool)
    assert not isinstance(Search(3), Pool)
    with pytest.raises(UserError, match="reaches 4 layers back, the window only 3"):
        validate(tiny(), [Mix(rule="search:K=4")], K=3)
    with pytest.raises(UserError, match="given more than once"):
        validate(tiny(), [POOL, POOL], K=3)


def test_the_command_says_what_is_exact(tmp_path, capsys) -> None:
    path = tmp_path / "t.parquet"
    write_traces(path, calibrated(prompts=8, tokens=40))
    asked = ["validate", str(path), "--window", "3", "--rule", "mix:rule=guarded:guard=0.1"]
    for options in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main([*asked, *options])
        assert not ended.value.code
        out = capsys.readouterr().out
        if not options:
            assert "A pool's log-loss is exact" in " ".join(out.split())
            assert "drawn with p=0.1" in " ".join(out.split())
            continue
        kinds = [row["kind"] for row in json.loads(out)[0]["validation"]["rows"]]
        assert kinds == ["rule", "pool", "draw", "oracle"]
    with pytest.raises(SystemExit) as ended:
        main(["validate", str(path), "--window", "3", "--rule", "dola"])
    assert ended.value.code == 2
    assert "decodes from logits" in " ".join(capsys.readouterr().err.split())
