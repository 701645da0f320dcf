#!/usr/bin/env bash
# Build the book from nothing into book/_build/html and check it.
#   bash book/build.sh [PYTHON]     PYTHON has the package and its extra `book`
# Fails on any Sphinx warning, on a claim without its theorem, and on anything loaded from the network.
set -euo pipefail
book=$(cd "$(dirname "$0")" && pwd)
python=$(command -v "${1:-python3}") || { echo "error: no such Python: ${1:-python3}" >&2; exit 2; }
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$book/.."
unset MPLBACKEND                       # "agg" would leave out every figure
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONDONTWRITEBYTECODE=1

"$python" book/check.py labels
rm -rf "$book/_build"                  # the execution cache does not see changes of the package
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "$python" -c 'from jupyter_book.cli.main import main; main()' \
    build book --path-output book --all -W -n --keep-going >"$log" 2>&1; then
  grep -E 'WARNING|ERROR|Error|Traceback' -A 12 "$log" >&2 || cat "$log" >&2
  echo "error: the book does not build" >&2
  exit 1
fi
"$python" book/check.py site
echo "built in $SECONDS s: $book/_build/html/index.html"
