#!/usr/bin/env bash
# All that wants a GPU, the most important first, in nine minutes; tables and traces in OUTDIR.
#
#   benchmarks/gpu/run.sh OUTDIR MODEL...                      on the first GPU, in bfloat16
#   benchmarks/gpu/run.sh OUTDIR --device cpu --quick          a rehearsal with a tiny model
#   benchmarks/gpu/run.sh OUTDIR --engine                      the plug-in, where vLLM is installed
#
# MODEL is a .gguf file, a folder, or a hub id, as for `stopping trace`; MODELS in the environment
# (separated by blanks) does as well. No step begins after SECONDS_LIMIT (480), and a minute later
# all ends. What was finished by then stays; OUTDIR/status.json says what that is.
set -euo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"
python="${PYTHON:-$root/.venv/bin/python}"
[ -x "$(command -v "$python")" ] || python=python3
limit="${SECONDS_LIMIT:-480}"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" TOKENIZERS_PARALLELISM=false
# The script watches the clock itself, and stops between steps; this is the safety net.
# shellcheck disable=SC2086  # MODELS holds several words
exec timeout --kill-after=10 "$((limit + 60))" \
  "$python" -m benchmarks.gpu --seconds "$limit" "$@" ${MODELS:-}
