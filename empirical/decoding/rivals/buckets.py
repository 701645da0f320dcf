"""Which layers DoLa and SLED set against the final one.

The buckets are those of the published DoLa decoding for transformers: every second layer of the
lower or the upper half, of models deeper than 40 layers the first or last 20. Layer 0 are the
embeddings; where these are tied to the head, their logits are nearly the identity, so the low
bucket starts at layer 2.
"""

from stopping.errors import UserError

BUCKETS = ("low", "high", "all")


def bucket(name: str, depth: int, tied: bool) -> tuple[int, ...]:
    """Return the layers below `L = depth` in a bucket, ascending.

    "all" are the layers `1 .. L-1`.

    Raises
    ------
    UserError
        If the bucket is unknown, or the model has a single layer and "all" of it is asked for.
    """
    if name == "low":
        start = 0 if not tied or depth < 2 else min(2, depth - 1)
        end = depth // 2 if depth <= 40 else 20
        return tuple(range(start, end, 2)) or (start,)
    if name == "high":
        return tuple(range(depth // 2 if depth <= 40 else depth - 20, depth, 2))
    if name == "all":
        if depth < 2:
            raise UserError("layers=all: a model of one layer has none before it; use layers=low")
        return tuple(range(1, depth))
    raise UserError(f"layers={name}: no such bucket; choose from {', '.join(BUCKETS)}")
