"""Launch 1: the head's product with the online entropy as its epilogue.

Thread block `p` of `P` reads the tiles `p, p + P, p + 2P, ...` of the vocabulary, each once for
`BLOCK_ROWS` rows, which is once in all while the rows fit. Row `r` is candidate `r mod layers` of
the `r div layers`-th row of the batch (or of the rows listed in `order`, of which there are `count`
on the device: whose number is beyond it is not computed).

A logit is `cap tanh(z before / cap) after[candidate]`, or -inf for entries beyond the vocabulary
and entries in `mask`. Weights padded to a multiple of the tile must not count as zeros: 640 zeros
beside 152k entries were worth 0.9 nats on real lens logits.
"""

import triton
import triton.language as tl


@triton.jit
def project(
    x,
    weight,
    bias,
    after,
    mask,
    order,
    count,
    z_out,
    m_out,
    s_out,
    t_out,
    top_out,
    layers,
    rows,
    entries,
    hidden,
    x_layer_stride,
    x_batch_stride,
    weight_stride,
    before,
    cap,
    HAS_BIAS: tl.constexpr,
    HAS_MASK: tl.constexpr,
    HAS_CAP: tl.constexpr,
    HAS_ORDER: tl.constexpr,
    STORE: tl.constexpr,
    EXACT: tl.constexpr,
    BLOCK_ENTRIES: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_HIDDEN: tl.constexpr,
):
    """Partials of `BLOCK_ROWS` rows over this block's tiles; grid (P, row blocks)."""
    block, blocks = tl.program_id(0), tl.num_programs(0)
    row = tl.program_id(1) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    present = row < rows
    if HAS_ORDER:
        present = row < tl.load(count) * layers
        if tl.program_id(1) * BLOCK_ROWS >= tl.load(count) * layers:
            return
    place, layer = row // layers, row % layers
    if HAS_ORDER:
        place = tl.load(order + place, mask=present, other=0)
    x_row = x + layer.to(tl.int64) * x_layer_stride + place.to(tl.int64) * x_batch_stride
    scale = tl.load(after + layer, mask=present, other=1.0)

    m = tl.full((BLOCK_ROWS,), float("-inf"), tl.float32)
    s = tl.zeros((BLOCK_ROWS,), tl.float32)
    t = tl.zeros((BLOCK_ROWS,), tl.float32)
    top = tl.zeros((BLOCK_ROWS,), tl.int32)
    inner = tl.arange(0, BLOCK_HIDDEN)
    for tile in range(block, tl.cdiv(entries, BLOCK_ENTRIES), blocks):
        token = tile * BLOCK_ENTRIES + tl.arange(0, BLOCK_ENTRIES)
        exists = token < entries
        w_row = weight + token.to(tl.int64) * weight_stride
        z = tl.zeros((BLOCK_ENTRIES, BLOCK_ROWS), tl.float32)
        for start in range(0, hidden, BLOCK_HIDDEN):
            k = start + inner
            w = tl.load(
                w_row[:, None] + k[None, :],
                mask=exists[:, None] & (k < hidden)[None, :],
                other=0.0,
            )
            h = tl.load(
                x_row[None, :] + k[:, None],
                mask=present[None, :] & (k < hidden)[:, None],
                other=0.0,
            )
            z = tl.dot(w, h, z, input_precision="ieee" if EXACT else "tf32")
        if HAS_BIAS:
            z += tl.load(bias + token, mask=exists, other=0.0).to(tl.float32)[:, None]
        z *= before
        if HAS_CAP:
            # tanh by its exponential, which does not overflow.
            u = tl.exp(-2.0 * tl.abs(z) / cap)
            bent = cap * (1.0 - u) / (1.0 + u)
            z = tl.where(z < 0, -bent, bent)
        z *= scale[None, :]
        if HAS_MASK:
            exists_here = exists & (tl.load(mask + token, mask=exists, other=1) == 0)
        else:
            exists_here = exists
        z = tl.where(exists_here[:, None], z, float("-inf"))
        if STORE:
            target = z_out + row.to(tl.int64)[None, :] * entries + token[:, None]
            tl.store(
                target,
                z.to(z_out.dtype.element_ty),
                mask=exists[:, None] & present[None, :],
            )
        # Where a NaN is among the entries, the maximum shall be one.
        broken = tl.sum((z != z).to(tl.int32), axis=0) > 0
        numbers = tl.where(z != z, float("-inf"), z)
        largest = tl.where(broken, float("nan"), tl.max(numbers, axis=0))
        best = tile * BLOCK_ENTRIES + tl.argmax(numbers, axis=0).to(tl.int32)
        top = tl.where(largest > m, best, top)
        new = tl.where(broken | (m != m), float("nan"), tl.maximum(m, largest))
        shift = tl.where(new == float("-inf"), 0.0, new)
        d = tl.maximum(m - shift, -1e30)
        factor = tl.exp(d)
        below = z - shift[None, :]
        e = tl.exp(below)
        t = factor * (t + tl.maximum(d, -80.0) * s)
        t += tl.sum(e * tl.maximum(below, -80.0), axis=0)
        s = factor * s + tl.sum(e, axis=0)
        m = new
    target = block * rows + row
    tl.store(m_out + target, m, mask=present)
    tl.store(s_out + target, s, mask=present)
    tl.store(t_out + target, t, mask=present)
    tl.store(top_out + target, top, mask=present)
