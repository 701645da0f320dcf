"""Finished parts of long runs, so that a killed run resumes, and ends as if it had not been killed.

- `journal`: many small cells, each a line of one file.
- `parts`: fewer and larger ones, each a file in a folder beside the result; a codec (JSON, Parquet,
  safetensors) writes and reads them.

Both hold the settings that their parts depend on, and refuse to mix other ones in.
"""

from stopping.support.store.journal import Journal, sweep
from stopping.support.store.parts import Codec, Parts, json_codec, require_room
from stopping.support.store.settings import kept_in, require_equal_settings

__all__ = [
    "Codec",
    "Journal",
    "Parts",
    "json_codec",
    "kept_in",
    "require_equal_settings",
    "require_room",
    "sweep",
]
