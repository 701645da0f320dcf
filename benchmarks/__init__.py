"""Measurements of speed: ratios within one run, with what was measured where."""
