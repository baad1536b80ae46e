"""The product of two matrices on tensor cores."""

import triton
import triton.language as tl

_INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
def product(a, b, total):
    """`total` + a b, accumulated in float32; float32 operands are not rounded to TF32."""
    if _INTERPRETED:
        # Triton's interpreter multiplies the bit patterns of bfloat16.
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, total, input_precision="ieee")
