"""Launch 2: merge the partials, scan backwards, copy the logits of the layer where it stops.

The partials of a row are merged by one reduction over the thread blocks of launch 1, always the
same tree, so equal inputs give equal bits. The scan is Algorithm 1 with a tolerance: from `L` down
while `H[l] < H[l+1] - tau`. All blocks of a row repeat it (a few kilobytes from the cache) and
each then copies its own piece of the logits.
"""

import triton
import triton.language as tl


@triton.jit
def choose(
    m_in,
    s_in,
    t_in,
    top_in,
    z_in,
    order,
    count,
    scans,
    entropy,
    best,
    column,
    goes_on,
    token_out,
    z_out,
    first,
    layers,
    window,
    rows,
    parts,
    entries,
    tau,
    HAS_ORDER: tl.constexpr,
    STORE: tl.constexpr,
    BLOCK_PARTS: tl.constexpr,
    BLOCK_ENTRIES: tl.constexpr,
):
    """Read candidates `first` to `first + layers - 1` of one row; grid (rows, pieces)."""
    place, piece = tl.program_id(0), tl.program_id(1)
    item = place
    if HAS_ORDER:
        if place >= tl.load(count):
            return
        item = tl.load(order + place)
    alive = tl.load(scans + item) != 0
    chosen = tl.full((), 0, tl.int32)
    reference = tl.full((), float("inf"), tl.float32)
    if first > 0:
        # A row that goes on has stepped back each time. What is read here, no block writes.
        chosen += first - 1
        reference = tl.load(entropy + item * window + first - 1)
    before = chosen
    part = tl.arange(0, BLOCK_PARTS)
    here = part < parts
    token = tl.full((), 0, tl.int32)
    for c in range(0, layers):
        row = place * layers + c
        m_part = tl.load(m_in + part * rows + row, mask=here, other=float("-inf"))
        s_part = tl.load(s_in + part * rows + row, mask=here, other=0.0)
        t_part = tl.load(t_in + part * rows + row, mask=here, other=0.0)
        top_part = tl.load(top_in + part * rows + row, mask=here, other=2147483647)
        broken = tl.sum((m_part != m_part).to(tl.int32), axis=0) > 0
        m = tl.max(tl.where(m_part != m_part, float("-inf"), m_part), axis=0)
        shift = tl.where(m == float("-inf"), 0.0, m)
        d = tl.maximum(m_part - shift, -1e30)
        factor = tl.exp(d)
        s = tl.sum(factor * s_part, axis=0)
        t = tl.sum(factor * (t_part + tl.maximum(d, -80.0) * s_part), axis=0)
        h = tl.log(s) - t / s
        # Rows without numbers say so in their entropy; the host looks at it when it likes.
        h = tl.where(broken | (m == float("-inf")) | (m == float("inf")), float("nan"), h)
        top = tl.min(tl.where(m_part == m, top_part, 2147483647), axis=0)
        if piece == 0:
            tl.store(entropy + item * window + first + c, h)
            tl.store(best + item * window + first + c, top)
        starts = (first + c) == 0
        falls = alive & ((h < reference - tau) | starts)
        # The final layer is where the search starts, whether its row is searched or not.
        chosen = tl.where(falls & (not starts), first + c, chosen)
        token = tl.where((falls & (not starts)) | starts, top, token)
        alive = falls
        reference = h
    moved = (chosen != before) | (first == 0)
    if piece == 0:
        tl.store(goes_on + item, (alive & (first + layers < window)).to(tl.int32))
        if moved:
            tl.store(token_out + item, token)
            tl.store(column + item, chosen)
    if STORE:
        v = piece * BLOCK_ENTRIES + tl.arange(0, BLOCK_ENTRIES)
        wanted = v < tl.where(moved, entries, 0)
        source = z_in + (place * layers + chosen - first).to(tl.int64) * entries
        z = tl.load(source + v, mask=wanted)
        tl.store(z_out + item.to(tl.int64) * entries + v, z, mask=wanted)


@triton.jit
def number_rows(goes_on, order, count, batch, BLOCK: tl.constexpr):
    """List the rows that go on, ascending; one block."""
    row = tl.arange(0, BLOCK)
    on = tl.load(goes_on + row, mask=row < batch, other=0)
    place = tl.cumsum(on, axis=0) - 1
    tl.store(order + place, row, mask=(on != 0) & (row < batch))
    tl.store(count, tl.sum(on, axis=0))
