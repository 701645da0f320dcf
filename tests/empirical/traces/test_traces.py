"""Trace files: what goes in comes out, its rounding is measured, and damage is told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from empirical.provenance import FORMAT, Provenance, command_line
from empirical.traces.files import Traces, merge_traces, read_traces, write_traces
from stopping.errors import UserError
from stopping.rules import Search

COLUMNS = ("prompt", "position", "token", "difficulty", "family", "group", "layers", "top1")
REALS = ("entropy", "log_prob", "top1_prob", "residual_norm", "residual_cosine")
STEPPED = ("residual_norm", "residual_cosine", "hindsight_gain", "tempered")
L, LAYERS = 5, (3, 4, 5)
PROVENANCE = Provenance(
    model="tiny",
    architecture="TinyForCausalLM",
    layers=L,
    hidden_size=8,
    vocabulary_size=1 << 31,
    mode="generated",
    weights={"tiny.safetensors": "ab" * 32},
    versions={"python": "3.11"},
    prompts_hash="cd" * 32,
    prompts=7,
    seed=3,
    max_new_tokens=20,
)


def traces_of(prompts: int = 3, each: int = 20, first: int = 0, **changes: Any) -> Traces:
    rng = np.random.default_rng(5 + first)
    n = prompts * each
    shape = (n, len(LAYERS))
    columns: dict[str, Any] = {
        "prompt": np.repeat(np.arange(first, first + prompts, dtype=np.int32), each),
        "position": np.tile(np.arange(each, dtype=np.int32), prompts),
        "token": rng.integers(0, 100, n).astype(np.int32),
        "difficulty": np.full(n, 2, np.int8),
        "family": np.full(n, "größer"),
        "group": np.repeat([f"größer/{i % 2}" for i in range(prompts)], each),
        "layers": np.array(LAYERS, np.int32),
        "entropy": rng.gamma(1.0, 2.0, shape).astype(np.float32),
        "log_prob": -rng.gamma(1.0, 2.0, shape).astype(np.float32),
        "top1": rng.integers(0, 100, shape).astype(np.int32),
        "top1_prob": rng.random(shape, dtype=np.float32),
        "hindsight_gain": rng.gamma(1.0, 0.1, shape).astype(np.float32),
        "tempered": -rng.gamma(1.0, 2.0, (n, 5)).astype(np.float32),
        "residual_norm": rng.gamma(1.0, 0.3, (n, L)).astype(np.float32),
        "residual_cosine": rng.uniform(-1, 1, (n, L)).astype(np.float32),
        "provenance": PROVENANCE,
        "vocabulary": {0: "<s>", 7: " \n", 42: "élan\x00", 99: "�"},
    }
    return Traces(**{**columns, **changes})


def test_single_precision_comes_back_bit_for_bit(tmp_path: Path) -> None:
    traces, path = traces_of(), tmp_path / "t.parquet"
    written = write_traces(path, traces, storage="float32")
    back = read_traces(path)
    for name in {*COLUMNS, *REALS, *STEPPED}:
        column = getattr(back, name)
        np.testing.assert_array_equal(column, getattr(traces, name))
        if name not in ("family", "group"):
            assert column.dtype == getattr(traces, name).dtype
    assert back.vocabulary == traces.vocabulary
    assert back.provenance == written
    assert written.storage is not None
    assert (written.storage.entropy_max, written.storage.moved_share) == (0.0, 0.0)
    assert written.same_source(PROVENANCE)
    assert written.date


def test_half_precision_rounds_by_half_a_unit_and_says_so(tmp_path: Path) -> None:
    traces, path = traces_of(), tmp_path / "t.parquet"
    loss = write_traces(path, traces).storage
    back = read_traces(path)
    for name in {*REALS, *STEPPED}:
        exact, stored = getattr(traces, name), getattr(back, name)
        unit = np.spacing(np.abs(exact).astype(np.float16)).astype(np.float32)
        if name in STEPPED:  # rounded to steps first
            unit += np.float32(2.0**-10)
        assert (np.abs(stored - exact) <= unit / 2).all()
        assert (stored != exact).any()
    assert loss is not None
    assert loss.dtype == "float16"
    for name in ("entropy", "log_prob"):
        error = np.abs(getattr(back, name) - getattr(traces, name))
        assert getattr(loss, f"{name}_max") == error.max()
        assert getattr(loss, f"{name}_mean") == pytest.approx(error.mean())
    assert (tmp_path / "t.parquet").stat().st_size > 0


def test_the_share_of_moved_tokens_is_that_of_the_search(tmp_path: Path) -> None:
    """float16 cannot tell 5.0003 from 5: a strict fall becomes a tie, and the search stays."""
    traces = traces_of()
    entropy = np.tile(np.float32([6.0, 5.0, 5.5]), (len(traces), 1))
    entropy[:15] = np.float32([6.0, 5.0, 5.0003])
    loss = write_traces(tmp_path / "t.parquet", replace(traces, entropy=entropy)).storage
    assert loss is not None
    assert loss.moved_share == 15 / len(traces)
    stored = read_traces(tmp_path / "t.parquet").entropy
    assert (Search(K=10).choose(stored) != Search(K=10).choose(entropy)).sum() == 15


def test_what_does_not_fit_into_half_precision_keeps_single(tmp_path: Path) -> None:
    traces = traces_of()
    norm = traces.residual_norm.copy()
    norm[0, 0] = 1e5
    write_traces(tmp_path / "t.parquet", replace(traces, residual_norm=norm))
    np.testing.assert_array_equal(read_traces(tmp_path / "t.parquet").residual_norm, norm)


def test_files_from_before_groups_and_gains_were_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_traces(path, traces_of())
    pq.write_table(pq.read_table(path).drop_columns(["group", "hindsight_gain", "tempered"]), path)
    old = read_traces(path)
    assert set(old.group) == {""}
    assert not old.holds("hindsight_gain")
    assert not old.holds("tempered")
    assert old.cluster_kind == "prompt"
    np.testing.assert_array_equal(old.clusters, old.prompt)


def test_clusters_are_groups_and_prompts_without_one() -> None:
    traces = traces_of(prompts=4, each=2)
    assert traces.cluster_kind == "group"
    assert traces.clusters.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    some = replace(traces, group=np.where(traces.prompt == 1, "a document", ""))
    partition = [set(some.prompt[some.clusters == c]) for c in np.unique(some.clusters)]
    assert sorted(partition, key=min) == [{0}, {1}, {2}, {3}]
    # A group may be called as a prompt is numbered, and is none of these prompts.
    named = replace(traces, group=np.where(traces.prompt < 2, "3", ""))
    assert len(set(named.clusters.tolist())) == 3


def test_no_traces_at_all_come_back(tmp_path: Path) -> None:
    empty = Traces.empty(LAYERS, PROVENANCE)
    write_traces(tmp_path / "t.parquet", empty)
    assert len(read_traces(tmp_path / "t.parquet")) == 0


# ---- files that are none


def test_a_missing_file() -> None:
    with pytest.raises(UserError, match="no such file"):
        read_traces(Path("nowhere.parquet"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    path = tmp_path / "t.parquet"
    write_traces(path, traces_of())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_traces(path)


@pytest.mark.slow
@pytest.mark.parametrize("place", [0.05, 0.2, 0.4, 0.6])
def test_a_damaged_file(tmp_path: Path, place: float) -> None:
    """Pages carry checksums: one bit amiss in the data is told, not read."""
    path = tmp_path / "t.parquet"
    write_traces(path, traces_of(prompts=200))
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_traces(path)


def test_another_kind_of_file(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_text("prompt,position\n0,0\n")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_traces(path)
    pq.write_table(pa.table({"a": [1, 2]}), path)
    with pytest.raises(UserError, match="no trace file"):
        read_traces(path)


def rewritten(path: Path, old: bytes, new: bytes) -> None:
    table = pq.read_table(path)
    metadata = {key: value.replace(old, new) for key, value in table.schema.metadata.items()}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def test_a_newer_format(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_traces(path, traces_of())
    rewritten(
        path, f'"version": {FORMAT.version}'.encode(), f'"version": {FORMAT.version + 1}'.encode()
    )
    with pytest.raises(UserError, match="upgrade layer-stopping"):
        read_traces(path)


def test_a_field_that_this_version_does_not_know_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_traces(path, traces_of())
    rewritten(path, b'"model": ', b'"weather": "fair", "model": ')
    assert read_traces(path).provenance.model == "tiny"


def test_provenance_that_lacks_a_field(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_traces(path, traces_of())
    rewritten(path, b'"model": ', b'"renamed": ')
    with pytest.raises(UserError, match="incomplete"):
        read_traces(path)


def test_a_lacking_column(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_traces(path, traces_of())
    pq.write_table(pq.read_table(path).drop_columns(["entropy", "prompt"]), path)
    with pytest.raises(UserError, match=r"t\.parquet: .*entropy, prompt"):
        read_traces(path)


# ---- invariants


def broken(name: str, value: float, row: int = 4, column: int = 1) -> dict[str, Any]:
    changed = getattr(traces_of(), name).copy()
    changed[(row, column) if changed.ndim == 2 else row] = value
    return {name: changed}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (broken("entropy", np.nan), "entropy: NaN.*token 4, layer column 1"),
        (broken("entropy", -0.1), "never negative"),
        (broken("entropy", 1e6), r"over 2,147,483,648 tokens is at most 21\.51 nats"),
        (broken("prompt", -1, 0), "counted from 0"),
        (broken("log_prob", 0.1), "at most 0"),
        (broken("log_prob", -np.inf), "log_prob: NaN or infinite"),
        (broken("top1_prob", 1.1), r"in \[0, 1\]"),
        (broken("residual_cosine", np.nan), "residual_cosine"),
        (broken("position", 3), "none doubled; .*token 4"),
        (broken("prompt", 2), "ascend"),
        ({"layers": np.array([3, 4, 4], np.int32)}, "ascend"),
        ({"layers": np.array([2, 3, 4], np.int32)}, "final layer 5"),
        ({"layers": np.array([0, 3, 5], np.int32)}, "from 1"),
        ({"entropy": np.ones((60, 4), np.float32)}, r"entropy has shape \(60, 4\)"),
        ({"residual_norm": np.ones((60, 3), np.float32)}, "residual_norm has shape"),
        ({"token": np.zeros(59, np.int32)}, "token has shape"),
    ],
)
def test_invariants(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        traces_of(**changes)


def test_the_largest_entropy_may_be_rounded_up_by_half_precision() -> None:
    """All tokens equally probable: what is stored may lie above the logarithm."""
    for size in (2, 100, 32_000, 50_257, 151_936, 262_144):
        provenance = replace(PROVENANCE, vocabulary_size=size)
        largest = np.full((60, 3), np.log(size))
        above = np.nextafter(largest.astype(np.float16), np.float16(np.inf))
        traces_of(entropy=above.astype(np.float32), provenance=provenance)
        with pytest.raises(UserError, match="at most"):
            traces_of(entropy=1.01 * above.astype(np.float32), provenance=provenance)


def test_without_a_vocabulary_any_entropy_of_a_vocabulary_is_taken() -> None:
    unknown = replace(PROVENANCE, vocabulary_size=0)
    traces_of(provenance=unknown)
    with pytest.raises(UserError, match="any vocabulary"):
        traces_of(**broken("entropy", 1e6), provenance=unknown)


def test_rounding_above_zero_is_clipped() -> None:
    assert traces_of(**broken("log_prob", 1e-7)).log_prob[4, 1] == 0.0


def test_select() -> None:
    traces = traces_of()
    kept = traces.select(traces.prompt == 1)
    assert len(kept) == 20
    np.testing.assert_array_equal(kept.top1, traces.top1[20:40])
    assert kept.layers is traces.layers


# ---- parts


def shard(number: int, first: int) -> Traces:
    here = replace(PROVENANCE, shard=number, date=f"day {number}", command=f"command {number}")
    return traces_of(prompts=2, first=first, provenance=here, vocabulary={number: f"w{number}"})


def test_parts_merge_in_order() -> None:
    whole = merge_traces([shard(1, 2), shard(0, 0)])
    assert whole.prompt.tolist() == sorted(whole.prompt.tolist())
    assert set(whole.prompt) == {0, 1, 2, 3}
    np.testing.assert_array_equal(whole.entropy[:40], shard(0, 0).entropy)
    np.testing.assert_array_equal(whole.residual_norm[40:], shard(1, 2).residual_norm)
    assert whole.vocabulary == {0: "w0", 1: "w1"}
    assert whole.provenance.shard is None
    assert whole.provenance.same_source(PROVENANCE)


def test_parts_that_do_not_belong_together() -> None:
    with pytest.raises(UserError, match="none doubled"):
        merge_traces([shard(0, 0), shard(1, 1)])
    other = traces_of(first=5, provenance=replace(PROVENANCE, dtype="bfloat16"))
    with pytest.raises(UserError, match="part 1 comes from another run"):
        merge_traces([shard(0, 0), other])
    fewer = traces_of(
        first=5,
        layers=np.array([2, 4, 5], np.int32),
    )
    with pytest.raises(UserError, match="part 1 has other layers"):
        merge_traces([shard(0, 0), fewer])
    with pytest.raises(UserError, match="no traces"):
        merge_traces([])


def test_command_lines_show_no_folder() -> None:
    line = ["stopping", "trace", "--model", "/home/me/m.gguf", "--out=../runs/x.parquet"]
    assert command_line(line) == "stopping trace --model m.gguf --out=x.parquet"
    assert command_line(["--model", "owner/model"]) == "--model owner/model"
