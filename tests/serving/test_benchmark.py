"""`python -m benchmarks serving` runs and leaves its rows, whatever the times are."""

import json

from click.testing import CliRunner

from benchmarks.gpu.serving import ENGINES
from benchmarks.serving import BATCHES, serving_benchmark
from tests.empirical.tiny_models import byte_tokenizer
from tests.serving.engines import save_tiny


def test_it_compares_the_engines(tmp_path):
    folder, out = tmp_path / "model", tmp_path / "serving.json"
    save_tiny(folder, "llama", vocab_size=4096, max_position_embeddings=256)
    byte_tokenizer().save_pretrained(folder)
    found = CliRunner().invoke(serving_benchmark, [str(folder), "--quick", "--out", str(out)])
    assert found.exit_code == 0, found.output
    rows = json.loads(out.read_text())["rows"]
    assert [(row["engine"], row["batch"]) for row in rows] == [
        (engine, batch) for engine in ENGINES for batch in BATCHES
    ]
