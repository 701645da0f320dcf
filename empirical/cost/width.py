"""The rule by which layers are projected together, for the decoder and for its prediction.

`rows` rows that want another layer read `w` layers at once, the largest number for which

    time(w rows) <= (1 + SLACK) time(rows).

A little above free, for a further turn costs a product of its own.
"""

from collections.abc import Callable

SLACK = 0.25


def free_width(time: Callable[[int], float], rows: int, layers: int, most: int) -> int:
    """Layers that `rows` rows read at once, of `layers`: one, or more in at most `most` rows."""
    allowed, width = (1 + SLACK) * time(rows), 1
    while width < layers and (width + 1) * rows <= most and time((width + 1) * rows) <= allowed:
        width += 1
    return width
