"""A0 by means of layers alone: what a table tells, what it cannot, and bad tables."""

import json
from pathlib import Path

import numpy as np
import pytest

from empirical.analysis.audit.means import LayerMeans, audit_means, read_means
from empirical.data import public_means
from empirical.figures.means import draw_means
from stopping.cli import main
from stopping.errors import UserError
from stopping.types import FloatArray

HEADER = "model,variant,lens,tokens,layer,mean_entropy,mean_kl_final"


def run(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        main(["audit", "means", *arguments])
    return stopped.value.code


def means(entropy: list[float], divergence: list[float], **other: str) -> LayerMeans:
    named = {"model": "m", "kind": "", "variant": "base", "lens": "raw", **other}
    return LayerMeans(
        *named.values(), tokens=7, entropy=np.array(entropy), divergence=np.array(divergence)
    )


def random_lenses(rng: np.random.Generator, sharpen: float) -> tuple[FloatArray, FloatArray]:
    """Distributions of three layers over 50 entries, (tokens, layers, entries), and the outcomes.

    Each layer knows less than the next, by averaging; `sharpen` is a power that makes lenses below
    the final layer surer than they may be.
    """
    final = rng.dirichlet(np.full(50, 0.2), size=(400, 2, 2))
    middle = final.mean(axis=2, keepdims=True)
    first = final.mean(axis=(1, 2), keepdims=True)
    layers = np.stack(np.broadcast_arrays(first, middle, final), axis=-2).reshape(-1, 3, 50)
    layers[:, :-1] **= sharpen
    return layers / layers.sum(axis=-1, keepdims=True), final.reshape(-1, 50)


def mean_of(p: FloatArray, truth: FloatArray) -> LayerMeans:
    entropy = -(p * np.log(p)).sum(axis=-1).mean(axis=0)
    divergence = (truth[:, None] * (np.log(truth)[:, None] - np.log(p))).sum(axis=-1).mean(axis=0)
    return means(list(entropy), list(divergence))


def test_the_gap_of_a_calibrated_layer_is_zero_and_that_of_a_sharpened_one_is_not() -> None:
    calibrated = mean_of(*random_lenses(np.random.default_rng(0), 1.0))
    np.testing.assert_allclose(calibrated.gap, 0.0, atol=1e-9)
    over = mean_of(*random_lenses(np.random.default_rng(0), 1.5))
    assert (over.gap[:-1] > 0.1).all()
    under = mean_of(*random_lenses(np.random.default_rng(0), 0.7))
    assert (under.gap[:-1] < -0.1).all()


def test_a_row_says_gap_rise_and_the_worst_layer() -> None:
    (row,) = audit_means([means([3.0, 2.0, 1.0], [5.0, 0.5, 0.0])], window=2).rows
    assert (row.window_gap, row.over, row.under) == (pytest.approx(1.25), 1, 1)
    assert (row.worst_gap, row.worst_layer, row.rise) == (3.0, 0, -1.0)


def test_contrasts_are_of_rows_that_differ_in_one_thing() -> None:
    flat = [0.0] * 3
    result = audit_means(
        [
            means([1.0, 1.0, 1.0], flat),
            means([0.5, 0.5, 1.0], flat, variant="instruct"),
            means([2.0, 2.0, 1.0], flat, lens="affine"),
            means([9.0, 9.0, 1.0], flat, model="other", lens="affine"),
        ],
        window=2,
    )
    assert [(c.what, c.gap_change, c.rise_change) for c in result.contrasts] == [
        ("base to instruct", 0.5, 0.5),
        ("raw to affine", -1.0, -1.0),
    ]


def test_the_public_table_is_what_was_published() -> None:
    result = audit_means(read_means(public_means()))
    assert len(result.rows) == 24
    raw = {(row.model, row.variant): row for row in result.of(lens="raw")}
    gaps = {key: round(row.window_gap, 2) for key, row in raw.items()}
    assert gaps["Mistral-7B-v0.3", "base"] == -0.82
    assert gaps["DeepSeek-V2-Lite-16B", "base"] == 3.55
    assert sum(gap > 0 for gap in gaps.values()) == 9
    assert sum(row.rise > 0 for row in result.of("base", "raw")) == 3
    assert sum(row.rise > 0 for row in result.of("instruct", "raw")) == 0


def test_text_says_what_means_cannot_tell(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Means tell nothing of single tokens" in text
    assert "in 3 of 6 base and 0 of 6 instruct models" in text
    assert "mixture of experts +3.12 to +3.55" in text


def test_json_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "gaps.svg"
    assert run(str(public_means()), "--window", "5", "--json", "--figure", str(figure)) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["window"] for row in found["rows"]} == {5}
    assert found["cannot"].startswith("Means tell nothing")
    assert "DeepSeek-V2-Lite-16B" in figure.read_text()


def test_each_model_has_a_panel_with_all_its_lines() -> None:
    figure = draw_means(read_means(public_means()))
    assert [len(ax.lines) for ax in figure.axes] == [5] * 6
    gap = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(gap, read_means(public_means())[0].gap[-11:])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows"),
        (["m,base,raw,9,0,1.0,2.0"], "each layer from 0 to 1 once"),
        (["m,base,raw,9,0,1.0,2.0", "m,base,raw,9,2,1.0,0.0"], "each layer from 0 to 2 once"),
        (["m,base,raw,9,0,1.0,2.0", "m,base,raw,9,0,1.0,2.0"], "each layer"),
        (["m,base,raw,9,0,nan,2.0", "m,base,raw,9,1,1.0,0.0"], "line 2: mean_entropy"),
        (["m,base,raw,9,0,inf,2.0", "m,base,raw,9,1,1.0,0.0"], "line 2: mean_entropy"),
        (["m,base,raw,9,0,1.0,-2.0", "m,base,raw,9,1,1.0,0.0"], "line 2: mean_kl_final"),
        (["m,base,raw,9,x,1.0,2.0"], "line 2: layer"),
        (["m,base,raw,9,0,1.0", "m,base,raw,9,1,1.0,0.0"], "line 2: mean_kl_final"),
        (["m,base,raw,9,0,1.0,2.0", "m,base,raw,9,1,1.0,0.5"], "from itself is 0.5"),
        (["m,base,raw,9,0,1.0,2.0", "m,base,raw,9,1,1.0,0.0"], "a window of 10 steps"),
    ],
)
def test_bad_tables(
    rows: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    assert run(str(path)) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert message in said


def test_a_table_that_lacks_its_final_layer_or_a_column(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{HEADER},last_layer\nm,base,raw,9,0,1.0,2.0,2\nm,base,raw,9,1,1.0,0.0,2\n")
    with pytest.raises(UserError, match="each layer from 0 to 2 once"):
        read_means(path)
    path.write_text("model,layer\nm,0\n")
    with pytest.raises(UserError, match="without column variant, lens"):
        read_means(path)
    path.write_text("")
    with pytest.raises(UserError, match="without column model"):
        read_means(path)
