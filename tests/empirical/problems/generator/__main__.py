"""Write the file of the built-in problems."""

import gzip
from pathlib import Path

import empirical.data
from tests.empirical.problems.generator import FILE, text

if __name__ == "__main__":
    packed = gzip.compress(text().encode("utf-8"), compresslevel=9, mtime=0)
    (Path(str(empirical.data.__file__)).parent / FILE).write_bytes(packed)
