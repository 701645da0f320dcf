#!/usr/bin/env bash
# Build the book into book/_build/html and check it.
#   bash book/build.sh [PYTHON]     PYTHON has the package and its extra `book`
# A page runs again when its cells, or a module, data or package that they used, has changed, and no
# page else (_ext/reruns.py); BOOK_FRESH=1 runs all. An edit in prose writes its page and runs none.
# Minutes from nothing, a quarter of one after an edit. A page that fails stops neither the others nor
# throws them away: they stay built, and the next build runs that page alone.
# Fails on any Sphinx warning, on a claim without its theorem, and on anything loaded from the network.
#
# The book stays on Jupyter Book 1 because version 2 (tried: 2.1.7) has no API pages from docstrings,
# does not put the numbers of cells into prose, does not fail on warnings, and fetches its theme.
set -euo pipefail
book=$(cd "$(dirname "$0")" && pwd)
python=$(command -v "${1:-python3}") || { echo "error: no such Python: ${1:-python3}" >&2; exit 2; }
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$book/.."
unset MPLBACKEND                       # "agg" would leave out every figure
unset PYTHONDONTWRITEBYTECODE          # else every kernel compiles the same modules anew
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

"$python" book/check.py labels
if [ "${BOOK_FRESH:-}" ]; then
  rm -rf "$book/_build/.jupyter_cache" "$book/_build/.doctrees"
fi
mkdir -p "$book/_build"
# What is on every page (extensions, styles, the table of contents) writes all of them anew; else an
# edit writes its own page, into the finished book, of which a page that fails costs no other.
look=$(find book/_config.yml book/_toc.yml book/references.bib book/_ext book/_static book/_images \
  -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
all=--all
[ "$(cat "$book/_build/.look" 2>/dev/null)" != "$look" ] || all=
rm -f "$book/_build/.look"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "$python" -c 'from jupyter_book.cli.main import main; main()' \
    build book --path-output book $all -W -n --keep-going >"$log" 2>&1; then
  grep -E 'WARNING|ERROR|Error|Traceback' -A 12 "$log" >&2 || cat "$log" >&2
  echo "error: the book has faults; its other pages are in $book/_build/html" >&2
  exit 1
fi
echo "$look" > "$book/_build/.look"
"$python" book/check.py site
ran=$(grep -c 'Executed notebook in' "$log" || true)
echo "built in $SECONDS s, $ran pages ran: $book/_build/html/index.html"
