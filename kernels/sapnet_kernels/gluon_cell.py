"""`conv_lstm_cell` written in Gluon, for compute capability 9.0 and 32 channels alone.

All weights lie in shared memory. What the 18 taps see arrives in a ring of nine tiles, three at a
time and ahead of the products, which run one behind the other without a wait between them.
"""

import triton.experimental.gluon.language as gl
from triton.experimental import gluon
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_init,
    warpgroup_mma_wait,
)

from sapnet_kernels.gluon_sums import store_sums, sums_layout, tap_sums


@gluon.jit
def _reciprocal(x):
    """Within two units of the last place; a division takes several times as long."""
    return gl.inline_asm_elementwise(
        "rcp.approx.ftz.f32 $0, $1;", "=r,r", [x], dtype=gl.float32, is_pure=True, pack=1
    )


@gluon.jit
def _sigmoid(x):
    return _reciprocal(1.0 + gl.exp2(-1.4426950408889634 * x))


@gluon.jit
def _tanh(x):
    return 2.0 * _sigmoid(2.0 * x) - 1.0


@gluon.jit
def _load(x, h, places, ready, group: gl.constexpr, tile, tiles, across):
    """Begin to load what three taps side by side see: of x, from the fourth group on of h."""
    PIXELS: gl.constexpr = x.block_type.shape[1]
    third: gl.constexpr = group % 3
    bar = ready.index(third)
    mbarrier.expect(bar, 3 * x.block_type.nbytes, pred=tile < tiles)
    for tap in gl.static_range(3):
        at = [tile // across + third - 1, tile % across * PIXELS + tap - 1, 0]
        place = places.index(3 * third + tap)
        if group < 3:
            tma.async_copy_global_to_shared(x, at, bar, place, pred=tile < tiles)
        else:
            tma.async_copy_global_to_shared(h, at, bar, place, pred=tile < tiles)


@gluon.jit(do_not_specialize=["height", "width", "next_dilation"])
def gluon_cell_kernel(
    x,
    old_h,
    old_c,
    weight,
    bias,
    h,
    c,
    sums,
    height,
    width,
    next_dilation,
    CHANNELS: gl.constexpr,
    FIRST: gl.constexpr,
    PIXELS: gl.constexpr,
):
    TAPS: gl.constexpr = 9 if FIRST else 18
    GROUPS: gl.constexpr = TAPS // 3
    GATES: gl.constexpr = 4 * CHANNELS
    kind: gl.constexpr = x.dtype
    warps: gl.constexpr = gl.num_warps()
    gates_layout: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[warps, 1], instr_shape=[16, GATES, 16]
    )
    wide: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[warps, 1], instr_shape=[16, CHANNELS, 16]
    )
    flat: gl.constexpr = gl.BlockedLayout([1, 8], [8, 4], [warps, 1], [1, 0])

    weights = gl.allocate_shared_memory(
        kind, [TAPS, CHANNELS, GATES], gl.NVMMASharedLayout.get_default_for([CHANNELS, GATES], kind)
    )
    inner = gl.arange(0, CHANNELS, gl.SliceLayout(1, flat))[:, None]
    outer = gl.arange(0, GATES, gl.SliceLayout(0, flat))[None, :]
    for load in range(TAPS):
        place = (load * CHANNELS + inner) * GATES + outer
        weights.index(load).store(gl.load(weight + place))
    places = gl.allocate_shared_memory(kind, [9, 1, PIXELS, CHANNELS], x.layout)
    ready = gl.allocate_shared_memory(gl.int64, [3, 1], mbarrier.MBarrierLayout())
    for third in gl.static_range(3):
        mbarrier.init(ready.index(third), count=1)
    fence_async_shared()

    b = gl.load(bias + gl.arange(0, GATES, gl.SliceLayout(0, gates_layout)))
    total = gl.zeros([16, CHANNELS], gl.float32, sums_layout(warps))
    across = (width + PIXELS - 1) // PIXELS
    tiles = height * across
    step = gl.num_programs(0)
    for group in gl.static_range(3):
        _load(x, old_h, places, ready, group, gl.program_id(0), tiles, across)
    parity = 0
    for tile in range(gl.program_id(0), tiles, step):
        row = tile // across
        left = tile % across * PIXELS
        pixel = gl.arange(0, PIXELS, gl.SliceLayout(1, wide))[:, None]
        channel = gl.arange(0, CHANNELS, gl.SliceLayout(0, wide))[None, :]
        inside = (left + pixel < width) & (channel >= 0)
        start = (row.to(gl.int64) * width + left) * CHANNELS
        offset = pixel * CHANNELS + channel
        if not FIRST:
            # Not where it is needed: it comes while the products run.
            before = gl.load(old_c + start + offset, mask=inside, other=0.0)
        gates = warpgroup_mma_init(gl.zeros([PIXELS, GATES], gl.float32, gates_layout))
        for group in gl.static_range(GROUPS):
            mbarrier.wait(ready.index(group % 3), parity ^ (group // 3))
            for tap in gl.static_range(3):
                seen = places.index(3 * (group % 3) + tap).reshape([PIXELS, CHANNELS])
                gates = warpgroup_mma(seen, weights.index(3 * group + tap), gates, is_async=True)
            if group > 0:
                # The products of the group before are done with their places.
                gates = warpgroup_mma_init(warpgroup_mma_wait(3, deps=[gates]))
                if group + 2 < GROUPS:
                    _load(x, old_h, places, ready, group + 2, tile, tiles, across)
                else:
                    _load(x, old_h, places, ready, group + 2 - GROUPS, tile + step, tiles, across)
        gates = warpgroup_mma_wait(0, deps=[gates])
        _load(x, old_h, places, ready, 2, tile + step, tiles, across)
        if FIRST:
            parity ^= 1

        # i, g, o, f: columns a quarter apart are in one thread.
        pairs = (gates + b[None, :]).reshape([PIXELS, 2, 2, CHANNELS]).permute([0, 3, 1, 2])
        ig, of = gl.split(pairs.permute([0, 1, 3, 2]))
        i, g = gl.split(ig)
        o, f = gl.split(of)
        i = gl.convert_layout(i, wide)
        g = gl.convert_layout(g, wide)
        o = gl.convert_layout(o, wide)
        f = gl.convert_layout(f, wide)
        cell = _sigmoid(i) * _tanh(g)
        if not FIRST:
            cell += _sigmoid(f) * before
        gl.store(c + start + offset, cell, mask=inside)
        hidden = (_sigmoid(o) * _tanh(cell)).to(kind)
        pixel = gl.arange(0, PIXELS, gl.SliceLayout(1, flat))[:, None]
        channel = gl.arange(0, CHANNELS, gl.SliceLayout(0, flat))[None, :]
        inside = (left + pixel < width) & (channel >= 0)
        gl.store(
            h + start + pixel * CHANNELS + channel, gl.convert_layout(hidden, flat), mask=inside
        )
        total = tap_sums(total, hidden, True, row, left, height, width, next_dilation)
    store_sums(sums, total)
