"""Trace files: their schema, windows and splits of them, parts of a long capture."""
