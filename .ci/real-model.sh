#!/usr/bin/env bash
# The whole path on real weights: SmolLM2-135M-Instruct.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
model=$(bash .ci/smollm2.sh "$folder" "$python")
stopping=$(dirname "$python")/stopping
"$stopping" trace --model "$model" --problems 6 --seed 3 --out "$folder/traces.parquet"
"$stopping" audit "$folder/traces.parquet" --brief
"$stopping" validate "$folder/traces.parquet" --rule search --rule tolerance:tau=0.5
# A perturbation made on purpose is found, minutes.
SMOLLM2="$model" OMP_NUM_THREADS=1 "$python" -m pytest tests/weights
